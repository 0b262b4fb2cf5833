"""Columns of any Arrow type, through the real engines; what the other engines are given is parsed."""

import datetime as dt
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.objects import Storage
from pipeline.tables.rows_digest import rows_digest
from pipeline.tables.snapshots import Manifest, SnapshotFile, Snapshots
from pipeline.warehouses.dialect import Dialect
from pipeline.warehouses.loads import plan_load
from pipeline.warehouses.script import EngineName, script
from tests.warehouses.engines import ENGINES, POSTGRES, warehouse
from tests.warehouses.tables import NAME

MOMENT = dt.datetime(2026, 3, 29, 1, 30, 0, 123456, dt.UTC)
VALUES: dict[str, tuple[pa.DataType, Any]] = {
    "int": (pa.int32(), -(2**31)),
    "big": (pa.int64(), 2**63 - 1),
    "real": (pa.float32(), 0.5),
    "double": (pa.float64(), 0.1),
    "yes": (pa.bool_(), True),
    "moment": (pa.timestamp("us", "UTC"), MOMENT),
    "local": (pa.timestamp("us"), MOMENT.replace(tzinfo=None)),
    "day": (pa.date32(), dt.date(1969, 12, 31)),
    "price": (pa.decimal128(38, 9), Decimal("-12345678901234567890.123456789")),
    "embedding": (pa.list_(pa.float32()), [0.25, -1.5]),
    "labels": (pa.list_(pa.string()), ["a'b", 'c"d\\', "e\nf"]),
    "person": (pa.struct([("first name", pa.string()), ("select", pa.int32())]), {"first name": "A", "select": 1}),
    "select": (pa.string(), "\u2028 \t"),
}
HEX = {"clickhouse": "hex(bytes)"}  # its strings may be no text, and Parquet's are
BYTES = b"\x00\xff\\'"


def made(folder: Path) -> Snapshots:
    """A table with one file, of a row of values, one of nulls, and one of empty ones; and columns of bytes."""
    keys = {
        name: [f"{name} of {n}" for n in range(3)] for name in ("id", "scoring_key", "decision_key", "content_sha256")
    }
    rows = pa.table(
        keys
        | {name: pa.array([value, None, None], type_) for name, (type_, value) in VALUES.items()}
        | {"bytes": pa.array([BYTES, None, b""], pa.binary())},
        schema=pa.schema(
            [pa.field(name, pa.string(), nullable=False) for name in keys]
            + [pa.field(name, type_) for name, (type_, _) in VALUES.items()]
            + [pa.field("bytes", pa.binary())]
        ),
    )
    snapshots = Snapshots(Storage(), str(folder / NAME))
    pq.write_table(rows, sink := BytesIO(), store_schema=False)
    path = f"{snapshots.folder('data', 1)}part-0000-{0:016x}.parquet"
    snapshots.storage.put(snapshots.uri(path), sink.getvalue())
    file = SnapshotFile(
        path, "data", "added", {}, 0, 3, len(sink.getvalue()), "x", "", {}, rows_digest=rows_digest(rows)
    )
    columns = [{"name": field.name, "type": str(field.type), "meaning": "m"} for field in rows.schema]
    counts = {"predictions": 3, "documents": 3, "errors": 0, "duplicate_ids": 0}
    manifest = Manifest(2, 1, None, False, "c", "k", "d", [], counts, {}, [file], [], {}, columns=columns)
    snapshots.storage.put(snapshots.manifest_uri(1), manifest.dump())
    return snapshots


def plain(value: Any) -> Any:
    """A value as engines that agree on it may still spell it differently."""
    match value:
        case dt.datetime():
            return value.replace(tzinfo=dt.UTC)
        case memoryview() | bytearray():
            return bytes(value)
    return value


@pytest.mark.parametrize("engine", ENGINES)
def test_values_of_every_type_arrive(engine: EngineName, tmp_path: Path):
    if engine == "postgres" and not POSTGRES.is_dir():
        pytest.skip("PostgreSQL is not installed")
    statements = "".join(script(plan_load(made(tmp_path)), engine))
    with warehouse(engine, tmp_path) as database:
        database.run(statements)
        database.run(statements)
        # DuckDB reads a timestamp with a zone by pytz, which is not installed
        moment = "moment" if engine != "duckdb" else "moment::TIMESTAMP"
        names = [moment if name == "moment" else f'"{name}"' for name in VALUES]
        first, nulls, empty = database.rows(", ".join([*names, HEX.get(engine, "bytes")]))
    expected = [*(value for _, value in VALUES.values()), BYTES.hex().upper() if engine in HEX else BYTES]
    assert [plain(value) for value in first] == [plain(value) for value in expected]
    no_lists: dict[str, Any] = (
        {"embedding": [], "labels": []} if engine == "clickhouse" else {}
    )  # where a list is never null
    no_struct: dict[str, Any] = {"person": {"first name": None, "select": None}} if engine == "clickhouse" else {}
    assert list(nulls) == [(no_lists | no_struct).get(name) for name in [*VALUES, "bytes"]]
    assert plain(empty[-1]) in (b"", "")


@pytest.mark.parametrize(
    "engine", ["bigquery", "snowflake", "redshift", "spark", "athena", "duckdb", "clickhouse", "postgres"]
)
def test_names_and_texts_are_quoted_as_the_engine_s_parser_reads_them(engine: str):
    from sqlglot import exp, parse_one

    dialect = Dialect(engine)
    for text in (NAME, "back\\slash", "line\nbreak", "`tick`", "ü🦉", "a''b"):
        parsed = parse_one(f"SELECT {dialect.identifier(text)}, {dialect.text(text)}", dialect=engine)
        column, literal = parsed.expressions
        assert (column.name, literal.name) == (text, text)
        assert isinstance(literal, exp.Literal)
