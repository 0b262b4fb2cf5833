"""A text file is one document."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pipeline.schema import DOCUMENTS
from tests.corpus.files import LARGE, limited, put, read_units, rows_of, texts_of, units_of


@pytest.mark.parametrize("ending", ["txt", "md", "txt.gz", "txt.zst"])
def test_a_text_file_is_one_document(tmp_path: Path, ending: str) -> None:
    packed: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstandard.compress}
    data = packed.get(ending[4:], bytes)("first\n\nlast é\n".encode())
    path = put(tmp_path / f"a.{ending}", data)
    assert rows_of(path) == [
        dict.fromkeys(DOCUMENTS.names) | {"id": f"file://{path}", "position": 0, "text": "first\n\nlast é\n"}
    ]


@pytest.mark.parametrize("ending", ["txt", "txt.zst"])
def test_a_text_file_that_is_too_large_leaves_with_its_uri(tmp_path: Path, ending: str) -> None:
    data = LARGE.encode()
    path = put(tmp_path / f"a.{ending}", zstandard.compress(data) if "zst" in ending else data)
    (unit,) = units_of(path)
    (row,) = read_units([limited(unit, 100)])
    assert (row["id"], row["reason"]) == (f"file://{path}", "too_large")
    assert [row["text"] for row in read_units([limited(unit, 1000)])] == [LARGE]


def test_an_empty_text_file_is_an_empty_document(tmp_path: Path) -> None:
    assert texts_of(put(tmp_path / "a.txt", b"")) == [""]


def test_a_text_file_that_is_no_utf8_leaves_with_its_uri(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", b"a\xff")
    (row,) = rows_of(path, id_column="id")
    assert (row["id"], row["reason"]) == (f"file://{path}", "invalid_utf8")
