"""Texts read again by what a table's rows say, from every kind of file, in any part of it."""

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from pipeline.config.corpus import CorpusSettings
from pipeline.corpus import texts
from pipeline.corpus.documents import rows
from pipeline.corpus.files import discover
from pipeline.corpus.texts import ScoredText, scored_texts
from pipeline.corpus.units import cut
from tests.corpus.files import STORAGE

COUNT = 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[CorpusSettings, list[tuple[ScoredText, str]]]:
    """The same documents as Parquet of small row groups, as JSON Lines and as a gzip stream, by their positions."""
    folder = tmp_path_factory.mktemp("texts")
    written = [f"document {n} ü" * (n % 7 + 1) for n in range(COUNT)]
    pq.write_table(pa.table({"text": written}), folder / "a.parquet", row_group_size=7)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in written)
    (folder / "b.jsonl").write_text(lines)
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    settings = CorpusSettings(uris=tuple(f"{folder}/{name}" for name in ("a.parquet", "b.jsonl", "c.jsonl.gz")))
    known = []
    for unit in cut(STORAGE, discover(STORAGE, settings).files, settings, 10**9):
        for row in rows(STORAGE, unit):
            sha256 = hashlib.sha256(row["text"].encode()).hexdigest()
            known.append((ScoredText(unit.file.uri, row["position"], sha256), row["text"]))
    assert len(known) == 3 * COUNT
    return settings, known


@given(wanted=st.sets(st.integers(0, 3 * COUNT - 1)), text_bytes=st.sampled_from([1, 200, 10**9]))
def test_each_text_comes_where_it_was_asked_for(
    corpus: tuple[CorpusSettings, list[tuple[ScoredText, str]]], wanted: set[int], text_bytes: int
):
    settings, known = corpus
    asked = [known[n] for n in sorted(wanted)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "UNIT_TEXT_BYTES", text_bytes)
        assert list(scored_texts(STORAGE, settings, (text for text, _ in asked))) == [text for _, text in asked]


def test_another_text_or_none_is_none(corpus: tuple[CorpusSettings, list[tuple[ScoredText, str]]], tmp_path: Path):
    settings, known = corpus
    (first, _), (second, text) = known[:2]
    asked = [
        ScoredText(first.source_uri, 0, "0" * 64),
        second,
        ScoredText(first.source_uri, 10_000, second.sha256),
        ScoredText(f"file://{tmp_path}/gone.jsonl", 0, second.sha256),
    ]
    assert list(scored_texts(STORAGE, settings, asked)) == [None, text, None, None]
