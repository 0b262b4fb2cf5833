"""A group of units -> the data file and the errors file that the snapshot holds for it.

Documents are grouped by their partition values and a stable hash of their source file, so that a small change of the
corpus changes few data files. A group's `inputs` digest says all that decides its bytes: two groups with the same digest
have the same files, so a file is copied from the last snapshot instead of written again.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.schema import errors_schema, predictions_schema
from pipeline.tables.files import parquet_bytes, partition_path

LAYOUT_VERSION = 1  # raise it when the same fragments give other bytes


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """What the table needs to know of a planned unit."""

    id: str
    source_uri: str
    partitions: tuple[tuple[str, str | None], ...]
    documents: int | None = None


class Decision(Protocol):
    """What turns logits into columns; a task's classification is one."""

    @property
    def key(self) -> str: ...
    @property
    def fields(self) -> list[pa.Field]: ...
    def decide(self, logits_NL: npt.NDArray[np.float64], /) -> list[pa.Array]: ...


@dataclass(frozen=True, slots=True)
class TableLayout:
    """How a table is cut into files and which columns the corpus's hive keys become."""

    partition_by: tuple[str, ...]
    carried: tuple[str, ...]  # hive keys that become columns
    buckets: int

    def groups(self, units: Iterable[SourceUnit]) -> list["Group"]:
        """Units by partition values and bucket, in a stable order."""
        grouped: dict[tuple[tuple[str | None, ...], int], list[SourceUnit]] = defaultdict(list)
        for unit in units:
            values = dict(unit.partitions)
            partition = tuple(values.get(key) for key in self.partition_by)
            grouped[partition, self._bucket(unit.source_uri)].append(unit)
        ordered = sorted(grouped, key=lambda key: (partition_path(self._named(key[0])), key[1]))
        return [Group(tuple(self._named(p)), b, tuple(grouped[p, b])) for p, b in ordered]

    def _bucket(self, source_uri: str) -> int:
        return int.from_bytes(hashlib.sha256(source_uri.encode()).digest()[:8]) % self.buckets

    def _named(self, partition: tuple[str | None, ...]) -> list[tuple[str, str | None]]:
        return list(zip(self.partition_by, partition, strict=True))


@dataclass(frozen=True, slots=True)
class Group:
    """The units whose documents share a data file."""

    partition: tuple[tuple[str, str | None], ...]
    bucket: int
    units: tuple[SourceUnit, ...]

    def inputs(self, layout: TableLayout, decision_key: str) -> str:
        """Digest of all that decides the bytes of this group's files; a unit's id covers its scoring key."""
        decides = [
            LAYOUT_VERSION,
            decision_key,
            layout.carried,
            sorted(unit.id for unit in self.units),
        ]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    @property
    def folder(self) -> str:
        return partition_path(list(self.partition))


@dataclass(frozen=True, slots=True)
class GroupFile:
    """One file of a group, not yet stored."""

    kind: str  # data | errors
    name: str
    data: bytes = field(repr=False)
    sha256: str
    rows: int
    labels: dict[str, int]


def build(
    group: Group,
    fragments: list[pa.Table],
    layout: TableLayout,
    decision: Decision,
    scoring_key: str,
) -> list[GroupFile]:
    """The group's files; a kind without rows has none. `fragments`: one FRAGMENT table per unit, in order."""
    documents = pa.concat_tables(
        _with_source(table, unit, layout)
        for table, unit in zip(fragments, group.units, strict=True)
    )
    documents = documents.append_column("scoring_key", pa.repeat(scoring_key, len(documents)))
    documents = documents.append_column("decision_key", pa.repeat(decision.key, len(documents)))
    documents = documents.sort_by(
        [(name, "ascending") for name in ("id", "source_uri", "source_position")]
    )
    failed = pa.compute.is_valid(documents["reason"])
    predictions = _predictions(documents.filter(pa.compute.invert(failed)), layout, decision)
    errors = documents.filter(failed).select(errors_schema(list(layout.carried)).names)
    errors = errors.cast(errors_schema(list(layout.carried)))
    files = [_file("data", group.bucket, predictions), _file("errors", group.bucket, errors)]
    return [file for file in files if file.rows]


def _with_source(fragment: pa.Table, unit: SourceUnit, layout: TableLayout) -> pa.Table:
    values = dict(unit.partitions)
    fragment = fragment.rename_columns({"position": "source_position"})
    fragment = fragment.append_column("source_uri", pa.repeat(unit.source_uri, len(fragment)))
    for key in layout.carried:
        value = pa.scalar(values.get(key), pa.string())
        fragment = fragment.append_column(key, pa.repeat(value, len(fragment)))
    return fragment


def _predictions(documents: pa.Table, layout: TableLayout, decision: Decision) -> pa.Table:
    schema = predictions_schema(decision.fields, list(layout.carried))
    if not len(documents):
        return schema.empty_table()
    logits = documents["logits"].combine_chunks().flatten().to_numpy()
    logits_NL = logits.reshape(len(documents), -1).astype(np.float64)
    for column, values in zip(decision.fields, decision.decide(logits_NL), strict=True):
        documents = documents.append_column(column, values)
    return documents.select(schema.names).cast(schema)


def _file(kind: str, bucket: int, table: pa.Table) -> GroupFile:
    data = parquet_bytes(table, sorted_by_id=True)
    sha256 = hashlib.sha256(data).hexdigest()
    return GroupFile(
        kind,
        f"part-{bucket:04d}-{sha256[:16]}.parquet",
        data,
        sha256,
        len(table),
        _label_counts(table),
    )


def _label_counts(table: pa.Table) -> dict[str, int]:
    if "label" in table.schema.names:
        values = table["label"]
    elif "labels" in table.schema.names:
        values = pa.compute.list_flatten(table["labels"])
    else:
        return {}
    counts = pa.compute.value_counts(values).to_pylist()
    return {row["values"]: row["counts"] for row in counts if row["values"] is not None}
