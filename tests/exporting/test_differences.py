"""`--since`: the difference, put into the older export by id, gives the newer one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pipeline.errors import ConfigError
from pipeline.exporting.exported import Target, export_snapshot
from pipeline.exporting.file_formats import form_of
from pipeline.exporting.selection import Selection
from pipeline.tables.snapshots import Manifest, Snapshots
from tests.reviewable import ONE, SEVERAL, Document, publish_corpus
from tests.tables.test_publish import Table

Side = dict[str, tuple[str, int]]  # of each id its file and what it says


def published(folder: Path, side: Side) -> tuple[Snapshots, Manifest]:
    files: dict[str, list[Document]] = {"always": [Document("0", "x", (1.0, 0.0, 0.0))]}
    for id_, (name, content) in side.items():
        logits = (float(content == 0), float(content == 1), float(content == 2))
        files.setdefault(name, []).append(Document(id_, f"text {content}", logits))
    return publish_corpus(folder, files)


def exported(table: tuple[Snapshots, Manifest], path: Path, selection: Selection) -> list[dict[str, Any]]:
    target = Target(str(path), form_of(str(path), None, formulas=False, bom=False), overwrite=True)
    export_snapshot(*table, selection, target)
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    return rows


sides = st.dictionaries(st.sampled_from("123456"), st.tuples(st.sampled_from("abc"), st.integers(0, 2)))


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=sides,
    after=sides,
    columns=st.sampled_from([None, "id, label"]),
    where=st.sampled_from([None, "label = 'cat'"]),
)
def test_the_difference_applied_gives_the_newer_export(
    tmp_path_factory: pytest.TempPathFactory, before: Side, after: Side, columns: str | None, where: str | None
):
    folder = tmp_path_factory.mktemp("difference")
    older, newer = published(folder, before), published(folder, after)
    whole = Selection(columns, where)
    rows = {row["id"]: row for row in exported(older, folder / "a.parquet", whole)}
    changes = exported(newer, folder / "b.parquet", Selection(columns, where, since=older[1]))
    assert [row["id"] for row in changes] == sorted({row["id"] for row in changes})
    for row in changes:
        change, id_ = row.pop("change"), row["id"]
        assert (id_ in rows) == (change != "added")
        assert rows.get(id_) == row if change == "removed" else rows.get(id_) != row
        rows[id_] = row
        if change == "removed":
            del rows[id_]
    assert rows == {row["id"]: row for row in exported(newer, folder / "c.parquet", whole)}


def test_with_text_what_was_removed_has_none(tmp_path: Path):
    older = published(tmp_path, {"1": ("a", 0), "2": ("a", 1)})
    newer = published(tmp_path, {"1": ("a", 2), "3": ("a", 1)})
    rows = exported(newer, tmp_path / "a.parquet", Selection("id", since=older[1], with_source=True))
    assert [(row["change"], row["id"], row["text"]) for row in rows] == [
        ("changed", "1", "text 2"),
        ("added", "3", "text 1"),
        ("removed", "2", None),
    ]


def test_what_has_no_difference_is_refused(tmp_path: Path):
    one = publish_corpus(tmp_path, {"a": [Document("1", "x", (1.0, 0.0, 0.0))]}, ONE)
    several = publish_corpus(tmp_path, {"a": [Document("1", "x", (1.0, 0.0, 0.0))]}, SEVERAL)
    with pytest.raises(ConfigError, match="its export has other columns than that of snapshot 2"):
        exported(several, tmp_path / "a.parquet", Selection(since=one[1]))
    assert exported(several, tmp_path / "a.parquet", Selection("id, n_tokens", since=one[1])) == []
    assert exported(one, tmp_path / "a.parquet", Selection(since=one[1])) == []


def test_ids_that_several_documents_have(tmp_path: Path):
    table = Table(tmp_path / "table")
    manifest = replace(table.publish(table.unit(1)), counts={"duplicate_ids": 2})
    with pytest.raises(ConfigError, match="has 2 ids that several documents have"):
        exported((table.snapshots, manifest), tmp_path / "a.parquet", Selection(since=manifest))
