"""Deletion vectors of Delta tables, inline and in files; Iceberg's are in test_iceberg.py."""

from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, strategies as st

from pipeline.corpus.deleted_rows import DeltaVector, numbers_digest, read_deleted
from pipeline.errors import CorpusError
from tests.corpus.delta_tables import DELETES, bitmap, delete_rows, live, pairs, z85
from tests.corpus.files import STORAGE, read
from tests.corpus.lakes import documents, rows_of, units_of


@given(st.sets(st.integers(0, 2**31)), st.sampled_from(["", "a/b"]))
def test_what_a_log_says_inline_is_read(rows: set[int], folder: str) -> None:
    data = bitmap(sorted(rows))
    entry = {"storageType": "i", "pathOrInlineDv": z85(data), "offset": None, "sizeInBytes": len(data)}
    vector = DeltaVector.of_log("s3://b/t", entry | {"cardinality": len(rows)})
    assert set(read_deleted(STORAGE, (vector,))) == rows


@pytest.mark.parametrize("in_file", [False, True], ids=["inline", "in a file"])
def test_units_change_with_their_file_s_deletes_alone(tmp_path: Path, in_file: bool) -> None:
    for number in range(3):
        write_deltalake(
            tmp_path, documents([*range(10 * number, 10 * number + 10)]), mode="append", configuration=DELETES
        )
    before = {unit.id("") for unit in units_of(tmp_path)}
    first, second, _ = sorted(live(tmp_path))
    delete_rows(tmp_path, first, [0, 3, 9], in_file=in_file)
    delete_rows(tmp_path, second, [*range(10)], in_file=in_file)
    assert rows_of(tmp_path) == pairs(DeltaTable(tmp_path))
    after = units_of(tmp_path)
    assert {unit.file.uri for unit in after if unit.id("") not in before} == {f"file://{tmp_path}/{first}"}
    assert len({unit.file.uri for unit in after}) == 2  # a file without rows has no unit
    of_first = [unit for unit in after if unit.file.uri.endswith(first)]
    positions = [position for unit in of_first for position in read(STORAGE, unit)["position"].to_pylist()]
    assert positions == [1, 2, 4, 5, 6, 7, 8]
    delete_rows(tmp_path, first, [0, 3, 9], in_file=not in_file)  # the same rows, told otherwise
    assert {unit.id("") for unit in units_of(tmp_path)} == {unit.id("") for unit in after}


def test_a_damaged_deletion_vector_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path, documents([*range(10)]), configuration=DELETES)
    delete_rows(tmp_path, next(iter(live(tmp_path))), [1, 2], in_file=True)
    (file,) = tmp_path.glob("ab/deletion_vector_*.bin")
    damaged = bytearray(file.read_bytes())
    damaged[-6] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(CorpusError, match=r"deletion_vector_.*\.bin: a deletion vector that is damaged"):
        units_of(tmp_path)
    file.unlink()
    with pytest.raises(CorpusError, match=r"^version 1 of the Delta table .*/deletion_vector_.* is gone"):
        units_of(tmp_path)


def test_a_vector_of_other_rows_than_the_log_counts_is_refused() -> None:
    data = bitmap([1, 2])
    for inline in (data, b"\0" * len(data)):
        vector = DeltaVector(None, 0, inline, len(data), cardinality=3)
        with pytest.raises(CorpusError, match="the table's log says 3"):
            read_deleted(STORAGE, (vector,))


def test_the_digest_is_of_the_numbers_however_they_are_compressed() -> None:
    vector = DeltaVector(None, 0, bitmap([*range(5000)]), len(bitmap([*range(5000)])), 5000)
    numbers = read_deleted(STORAGE, (vector,))
    digest = numbers_digest(numbers)
    numbers.run_optimize()
    assert numbers_digest(numbers) == digest
    numbers.discard(7)
    assert numbers_digest(numbers) != digest
