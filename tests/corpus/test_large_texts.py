"""A large text out of Parquet is the text that was written, and lies in memory once."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus.documents import rows
from pipeline.corpus.large_texts import LARGE_BYTES, STEP
from pipeline.schema import DOCUMENTS
from tests.corpus.files import STORAGE, limited, read, rows_of, texts_of, units_of

LARGE = "é日👩 " * (LARGE_BYTES // 10) + "the end"  # 10 bytes
TEXTS = ["before", LARGE, None, LARGE[::-1], "", "after"]


def written(path: Path, texts: Sequence[str | bytes | None], type_: pa.DataType) -> Path:
    pq.write_table(pa.table({"text": pa.array(texts, type_), "id": range(len(texts))}), path)
    return path


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.binary(), pa.string_view()], ids=str)  # fmt: skip
@pytest.mark.parametrize("text_bytes", [1_000_000, 10**9], ids=["rows", "row group"])
def test_what_was_written_is_read(tmp_path: Path, type_: pa.DataType, text_bytes: int) -> None:
    path = written(tmp_path / "a.parquet", TEXTS, type_)
    found = rows_of(path, text_bytes, id_column="id")
    assert [row["text"] for row in found] == TEXTS
    assert [(row["id"], row["position"]) for row in found] == [(str(i), i) for i in range(6)]
    assert [row["reason"] for row in found] == [None] * 6


def test_one_among_many_small_ones_of_a_row_group_is_not_copied_into_documents(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "a.parquet", ["a", LARGE, "b", "c"], pa.string())
    (unit,) = units_of(path, 10**9)
    documents = read(STORAGE, unit)
    assert documents.schema.equals(DOCUMENTS)
    assert documents["text"].to_pylist() == ["a", LARGE, "b", "c"]
    assert [len(chunk) for chunk in documents["text"].chunks] == [1, 1, 2]


def test_who_reads_rows_gets_a_str(tmp_path: Path) -> None:
    units = units_of(written(tmp_path / "a.parquet", TEXTS, pa.string()), 10**9)
    assert [row.get("text") for unit in units for row in rows(STORAGE, unit)] == TEXTS


def test_one_byte_decides_whether_it_is_too_large(tmp_path: Path) -> None:
    (unit,) = units_of(written(tmp_path / "a.parquet", ["a", LARGE, "b"], pa.string()), 10**9)
    size = len(LARGE.encode())
    for most, reason in ((size, None), (size - 1, "too_large")):
        found = read(STORAGE, limited(unit, most)).to_pylist()
        assert [row["reason"] for row in found] == [None, reason, None]
        assert found[1]["text"] == (None if reason else LARGE)


@pytest.mark.parametrize(
    "damaged",
    [
        LARGE.encode()[: 3 * STEP] + b"\xff" + LARGE.encode()[3 * STEP :],
        b"a" * (STEP - 1) + "é".encode() + b"a" * (STEP - 2) + "é".encode()[:1] + b"a" * LARGE_BYTES,
        b"a" * LARGE_BYTES + "👩".encode()[:3],
        b"a" * LARGE_BYTES + b"\xed\xa0\x80b",
    ],
    ids=["middle", "where two steps meet", "cut off", "surrogate"],
)  # fmt: skip
def test_what_is_no_utf8_is_told_where_python_finds_it(tmp_path: Path, damaged: bytes) -> None:
    with pytest.raises(UnicodeDecodeError) as decoding:
        damaged.decode()
    path = written(tmp_path / "a.parquet", [b"a", damaged, b"b"], pa.binary())
    before, found, after = rows_of(path)
    assert (before["text"], after["text"]) == ("a", "b")
    assert (found["reason"], found["text"]) == ("invalid_utf8", None)
    assert found["message"] == f"at {decoding.value.start}: {decoding.value.reason}"


def test_a_text_that_is_no_string_stays_an_error(tmp_path: Path) -> None:
    assert texts_of(written(tmp_path / "a.parquet", [None], pa.null())) == [None]


PEAK = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.corpus.files import STORAGE, limited, read, units_of
from tests.processes import peak_kilobytes

(first,) = units_of(Path(sys.argv[1]) / "small.parquet")
read(STORAGE, first)  # what is loaded at the first use
(unit,) = units_of(Path(sys.argv[1]) / "a.parquet", 10**9)
before = peak_kilobytes()
for most in (2**26, 2**25):
    documents = read(STORAGE, limited(unit, most))
    print(documents["reason"].to_pylist(), documents["text"].nbytes, peak_kilobytes() - before)
    del documents
"""


def test_a_text_is_held_as_it_was_decoded_and_no_more(tmp_path: Path) -> None:
    """64 MB of four-byte characters, in a process of its own.

    Arrow holds it three times: the page, the dictionary made of it, the record batch; as it is stored it is small here. What
    is made of the batch shares its bytes. As bytes, str, UTF-8 and DOCUMENTS it took six times its size.
    """
    size = 64_000_000
    written(tmp_path / "small.parquet", ["a"], pa.string())
    written(tmp_path / "a.parquet", ["before", "👩👨🏽" * (size // 12), "after"], pa.string())
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    accepted, refused = shown.splitlines()
    assert accepted.startswith("[None, None, None] 64")
    assert refused.startswith("[None, 'too_large', None]")
    for line in (accepted, refused):
        assert int(line.split()[-1]) * 1024 < 4 * size


GROUP = """
import sys
from pathlib import Path
from pipeline.corpus.streams import passes, read_pass
from tests.corpus.files import STORAGE, limited, rows_of, units_of
from tests.processes import peak_kilobytes

rows_of(Path(sys.argv[1]) / "small.parquet")
before, n_rows = peak_kilobytes(), 0
for together in passes(units_of(Path(sys.argv[1]) / "a.parquet")):
    for _, documents in read_pass(STORAGE, together):
        n_rows += len(documents)
print(n_rows, peak_kilobytes() - before)
"""


def test_a_large_row_group_is_not_held_even_as_it_is_stored(tmp_path: Path) -> None:
    """240 MB as they are stored, in units of 16 MB: 170 MB were measured, and no more for a larger one."""
    written(tmp_path / "small.parquet", ["a"], pa.string())
    n_rows, path = 100_000, tmp_path / "a.parquet"
    table = pa.table({"text": ["x" * 2400] * n_rows})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    assert pq.read_metadata(path).num_row_groups == 1
    command = [sys.executable, "-c", GROUP, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found, peak = map(int, shown.split())
    assert found == n_rows
    assert peak * 1024 < path.stat().st_size
