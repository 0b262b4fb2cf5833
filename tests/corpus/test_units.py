"""Cutting: nothing lost, nothing twice, about the size asked for; and a unit's name is what it reads."""

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.files import discover
from pipeline.corpus.units import cut
from tests.corpus.files import STORAGE, put, rows_of, units_of


def test_the_largest_document_is_the_job_s_to_say(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "text\nab\nabcdefghijkl\n")
    found = [row["reason"] for row in rows_of(path, max_document_bytes=10)]
    assert found == [None, "too_large"]


def test_many_files_are_cut_by_others_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(7):
        table = pa.table({"text": [f"text {number}"] * (number + 1)})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    expected = units_of(tmp_path)
    assert [unit.documents for unit in expected] == [1, 2, 3, 4, 5, 6, 7]
    sizes: list[int] = []

    def mapped(function: Any, items: Any, /) -> Any:
        for item in pickle.loads(pickle.dumps(list(items))):
            sizes.append(len(item))
            yield pickle.loads(pickle.dumps(function))(item)

    monkeypatch.setattr("pipeline.corpus.units.TOGETHER", 3)
    settings = CorpusSettings(uris=(str(tmp_path),))
    files = discover(STORAGE, settings).files
    assert cut(STORAGE, files, settings, 16_000_000, mapped) == expected
    assert sizes == []  # few: Ray's start would cost more than their requests
    monkeypatch.setattr("pipeline.corpus.units.MANY_FILES", 6)
    assert cut(STORAGE, files, settings, 16_000_000, mapped) == expected
    assert sizes == [3, 3, 1]
