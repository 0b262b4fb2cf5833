"""Isolated reading gives what reading gives; what ends the process costs as little as its format allows."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus.isolated_reading import IsolatedReading
from pipeline.corpus.slices import Unit
from pipeline.corpus.streams import passes, read_pass
from tests.corpus.files import STORAGE, Row, put, units_of

DOCUMENTS = 24
TEXTS = [f"document {number} " + "word " * 100 for number in range(DOCUMENTS)]


@pytest.fixture
def isolated() -> Iterator[IsolatedReading]:
    reading = IsolatedReading(STORAGE)
    yield reading
    reading.close()


@pytest.fixture
def deaths(killing: Callable[[str, str], Path]) -> Path:
    return killing("TEXT", "read quokka")


def write(path: Path, *killers: int, row_group: int = DOCUMENTS) -> Path:
    texts = [f"{text} quokka" if i in killers else text for i, text in enumerate(TEXTS)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=row_group)
        return path
    if path.suffix == ".txt":
        return put(path, texts[0])
    lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
    return put(path, gzip.compress(lines) if path.suffix == ".gz" else lines)


def read_isolated(isolated: IsolatedReading, units: list[Unit]) -> list[tuple[Unit, list[Row]]]:
    together = (found for units_ in passes(units) for found in isolated.read_pass(units_))
    return [(unit, documents.to_pylist()) for unit, documents in together]


def killed(found: list[tuple[Unit, list[Row]]]) -> list[bool]:
    assert {row["reason"] for _, rows in found for row in rows} <= {None, "process_died"}
    return [row["reason"] is not None for _, rows in found for row in rows]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz", "a.txt"])
def test_documents_are_those_of_a_reading_here(name: str, tmp_path: Path, isolated: IsolatedReading) -> None:
    units = units_of(write(tmp_path / name), 4_000)
    here = [found for units_ in passes(units) for found in read_pass(STORAGE, units_)]
    assert read_isolated(isolated, units) == [(unit, rows.to_pylist()) for unit, rows in here]


def test_a_unit_without_documents(tmp_path: Path, isolated: IsolatedReading) -> None:
    (unit,) = units_of(put(tmp_path / "blank.jsonl", b"\n" * 50))
    assert read_isolated(isolated, [unit]) == [(unit, [])]


@pytest.mark.parametrize("killers", [[5], [0, 23]])
def test_of_lines_only_the_killers_are_lost(
    killers: list[int], tmp_path: Path, deaths: Path, isolated: IsolatedReading
) -> None:
    path = write(tmp_path / "a.jsonl", *killers)
    (unit,) = units_of(path)
    ((read, rows),) = read_isolated(isolated, [unit])
    assert read == unit
    assert killed([(read, rows)]) == [i in killers for i in range(DOCUMENTS)]
    ends = [*accumulate(map(len, path.read_bytes().splitlines(keepends=True)))]
    assert [row["position"] for row in rows] == [0, *ends[:-1]]
    at_each_halving = 1 + DOCUMENTS.bit_length()  # and of the line alone twice
    n_deaths = len(deaths.read_text().splitlines())
    assert 2 + 2 * len(killers) <= n_deaths <= 2 + at_each_halving * len(killers)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_of_what_is_not_cut_by_bytes_all_is_lost(
    encoding: str, tmp_path: Path, deaths: Path, isolated: IsolatedReading
) -> None:
    records = [json.dumps({"text": text}) for text in ("one", "quokka", "two")]
    text = f"[{','.join(records)}]" if encoding == "utf-8" else "\n".join(records)
    (unit,) = units_of(put(tmp_path / "a.jsonl", text.encode(encoding)))
    found = read_isolated(isolated, [unit])
    assert killed(found) == [True]
    assert [row["position"] for row in found[0][1]] == [0]
    assert deaths.exists()


@pytest.mark.parametrize(("row_group", "lost"), [(24, range(13, 24)), (8, range(13, 16)), (1, range(13, 14))])
def test_of_rows_those_are_lost_that_nobody_gets_to(
    row_group: int, lost: range, tmp_path: Path, deaths: Path, isolated: IsolatedReading
) -> None:
    (unit,) = units_of(write(tmp_path / "a.parquet", 13, row_group=row_group))
    found = read_isolated(isolated, [unit])
    assert [read for read, _ in found] == [unit]
    assert killed(found) == [i in lost for i in range(DOCUMENTS)]
    assert [row["position"] for row in found[0][1]] == list(range(DOCUMENTS))
    assert deaths.exists()


def test_units_of_one_row_group_lose_their_own_rows_only(
    tmp_path: Path, deaths: Path, isolated: IsolatedReading
) -> None:
    units = units_of(write(tmp_path / "a.parquet", 13), 6_000)
    assert len(units) > 2
    assert len(list(passes(units))) == 1
    found = read_isolated(isolated, units)
    assert [unit for unit, _ in found] == units
    stop = next(unit.slice.stop for unit in units if unit.slice.stop > 13)  # type: ignore[attr-defined]
    assert killed(found) == [13 <= i < stop for i in range(DOCUMENTS)]
    assert deaths.exists()


def test_of_a_stream_what_lies_behind_is_lost(tmp_path: Path, deaths: Path, isolated: IsolatedReading) -> None:
    (stream,) = units_of(write(tmp_path / "a.jsonl.gz", 13), 4_000)
    found = read_isolated(isolated, [stream])
    before = len(found) - 1
    assert [unit for unit, _ in found] == [stream.part(i) for i in range(before + 1)]
    assert killed(found) == [False] * sum(len(rows) for _, rows in found[:-1]) + [True]
    wanted = [stream.part(i) for i in (0, before, before + 1)]  # of a file that was cut before
    again = read_isolated(isolated, wanted)
    assert [any(killed([part])) for part in again] == [False, True, True]
    for read in (found, again):  # without an id column they are the ids
        positions = [row["position"] for _, rows in read for row in rows]
        assert positions == sorted(set(positions))
    assert deaths.exists()


def test_a_text_and_a_limit_are_one_row(tmp_path: Path, deaths: Path, isolated: IsolatedReading) -> None:
    assert killed(read_isolated(isolated, units_of(write(tmp_path / "a.txt", 0)))) == [True]
    (unit,) = units_of(write(tmp_path / "a.jsonl", 1))
    assert killed(read_isolated(isolated, [replace(unit, limit=3)])) == [False, True, False]
    assert deaths.exists()
