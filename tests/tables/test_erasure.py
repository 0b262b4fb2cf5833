"""Erasure on tables made by hand: what is left of a document anywhere, and every place where it may die."""

import io
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, ConflictError, RetryableError
from pipeline.storage.objects import Storage
from pipeline.tables import erasure, heartbeats
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.erasure import erase_documents, look_for
from pipeline.tables.error_budget import ErrorBudget
from pipeline.tables.group_tallies import id_digests
from pipeline.tables.heartbeats import Heartbeats
from pipeline.tables.publication_rules import PublicationRules
from pipeline.tables.publish import is_current, publish
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tables.source_units import SourceUnit
from pipeline.tasks.classification import Classification
from tests.dying_storage import DyingError, dying
from tests.tables.test_publish import Table, tree

OTHER = Classification("single_label", ("cat", "dog"), temperature=2.0)
PERSON, FAILED, ALONE = "jane.doe@example.org", "john.roe@example.org", "file:///c/alone.txt"
GONE = [PERSON, FAILED, ALONE, "nobody@example.org"]


def units(table: Table) -> list[SourceUnit]:
    return [
        table.documents(1, ["a-1", PERSON, "z-1"]),
        table.documents(2, [FAILED, "a-2", "z-2"], failed=True),
        replace(table.documents(3, [ALONE]), partitions=(("part", "alone"), ("day", "1"))),
        table.documents(4, ["a-4", "z-4"]),
    ]


def filled(folder: Path) -> Table:
    """Three snapshots, one partial, one under other keys; a candidate; what died and what is at work has left."""
    table = Table(folder)
    first = units(table)
    table.publish(*first[:3])
    table.publish(*first)
    table.publish(*first[:1], partial=True)
    table.publish(*first, task=OTHER)
    hold_back(table, table.publish(*first, table.documents(5, ["a-5"])))
    leave_remains(table)
    return table


def filled_with_little(folder: Path) -> Table:
    """One of each: for what is done to it at every step."""
    table = Table(folder)
    first = units(table)
    table.publish(*first[:2])
    hold_back(table, table.publish(first[0], table.documents(5, ["a-5"])))
    leave_remains(table)
    return table


def hold_back(table: Table, manifest: Manifest) -> None:
    """Makes a candidate of a snapshot."""
    (table.folder / "_candidates").mkdir()
    number = f"{manifest.snapshot:020d}.json"
    (table.folder / "_snapshots" / number).rename(table.folder / "_candidates" / number)
    table.snapshots.point_to_latest()


def leave_remains(table: Table) -> None:
    """Adds what a publication that died, and runs that are at work, have left; and an index."""
    file = table.folder / table.snapshots.read(1).files[0].path
    dead = table.folder / "data" / f"snapshot={9:020d}" / "part=a"
    dead.mkdir(parents=True)
    for name in ("part-0001-aaaa.parquet", "part-0002-bbbb.parquet"):
        shutil.copy(file, dead / name)
    for name, ids in (("documents/00/one", [PERSON, "a"]), ("computed/00/two", [FAILED]), ("computed/00/3", ["a"])):
        path = table.folder / "_units" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": ids}), path)
    (table.folder / "_index" / "key").mkdir(parents=True)
    (table.folder / "_index" / "key" / "0.parquet").write_bytes(b"digests of texts")
    told = table.folder / "_runs" / "20261127T010203Z-0a1b2c3d"
    told.mkdir(parents=True)
    message = f"2 ids can't be: {PERSON!r} in {ALONE} and in s3://b/1.jsonl at 0; 'a-1' in s3://b/2.jsonl"
    (told / "summary.json").write_text(json.dumps({"run_id": told.name, "message": message, "seconds": 1.5}))
    (told / "progress.json").write_text("{")  # broken off
    (told.parent / "estimate.json").write_text(json.dumps({"sample": {"largest_id": PERSON, "documents": 2}}))
    cells = "".join(f"<td><bdi>{id_}</bdi></td>" for id_ in (PERSON, FAILED, "a-1"))
    (told / "report.html").write_text(f"<!doctype html><style>p > b {{}}</style><body><p>{message}</p>{cells}</body>")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return filled(tmp_path / "table")


def erased(table: Table, *ids: str, storage: Storage | None = None) -> Any:
    snapshots = Snapshots(storage or Storage(), str(table.folder))
    return erase_documents(snapshots, ids or GONE, lambda line: None)


def readings(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that anybody can read below a folder: names, bytes and, of Parquet, footers, statistics and values."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield str(path.relative_to(folder)), str(path).encode() + b"\n" + data
        if data.startswith(b"PAR1"):
            file = pq.ParquetFile(io.BytesIO(data))
            groups = [str(file.metadata.row_group(n).to_dict()) for n in range(file.metadata.num_row_groups)]
            read = [str(file.metadata.metadata), str(file.schema_arrow), *groups, str(file.read().to_pylist())]
            yield str(path.relative_to(folder)), "\n".join(read).encode()


def holding(folder: Path, *ids: str) -> set[str]:
    """The objects that hold one of the ids, or the digest that tallies keep of it."""
    wanted = [*(id_.encode() for id_ in ids), *(id_digests([id_]).tobytes() for id_ in ids)]
    return {path for path, data in readings(folder) if any(part in data for part in wanted)}


def kinds(paths: set[str]) -> set[str]:
    return {"/".join(path.split("/")[: 2 if path.startswith("_units") else 1]) for path in paths}


def whole(table: Table, manifest: Manifest) -> list[str]:
    """What a reader of the manifest sees: the ids in every file, as it is said to be."""
    ids: list[str] = []
    for file in manifest.files:
        path = table.folder / file.path
        of_file = pq.ParquetFile(path).read(["id"])["id"].to_pylist()
        assert (path.stat().st_size, len(of_file)) == (file.bytes, file.rows)
        ids += of_file
    return sorted(ids)


def every_manifest(table: Table) -> list[Manifest]:
    paths = sorted([*(table.folder / "_snapshots").glob("*.json"), *(table.folder / "_candidates").glob("*.json")])
    return [Manifest.parse(path.read_bytes()) for path in paths]


def test_nothing_below_the_table_holds_an_erased_id_and_all_others_stay(table: Table):
    before = [(manifest, whole(table, manifest)) for manifest in every_manifest(table)]
    places = holding(table.folder, *GONE)
    assert kinds(places) == {  # else the search can't fail
        *("_snapshots", "_candidates", "data", "errors", "_runs"),
        *("_units/key", "_units/tallies", "_units/documents", "_units/computed"),
    }
    assert erased(table).ids == {PERSON, FAILED, ALONE}
    assert holding(table.folder, *GONE) == set()
    assert not (table.folder / "_index" / "key" / "0.parquet").exists()
    assert (table.folder / "_units" / "computed" / "00" / "3").exists()
    for (old, ids), new in zip(before, every_manifest(table), strict=True):
        assert whole(table, new) == [id_ for id_ in ids if id_ not in GONE]
        gone = len(ids) - len(whole(table, new))
        assert gone
        assert new.counts["erased"] == gone
        assert new.counts["documents"] == old.counts["documents"] - gone
        assert (new.content, new.snapshot, new.run) == (old.content, old.snapshot, old.run)


def test_a_snapshot_is_what_publishing_would_have_made_of_it(table: Table, tmp_path: Path):
    """Files, counts, labels and failures are byte for byte those of a table that never had the documents."""
    erased(table)
    fresh = Table(tmp_path / "fresh")
    shutil.copytree(table.folder / "_erased", fresh.folder / "_erased")
    erasures = Erasures(Storage(), str(fresh.folder))
    fresh.fragments = replace(fresh.fragments, erased=erasures.read())
    first = units(fresh)
    fresh.publish(*first[:3])
    fresh.publish(*first)
    fresh.publish(*first[:1], partial=True)
    fresh.publish(*first, task=OTHER)
    for old in (manifest for manifest in every_manifest(table) if manifest.snapshot < 5):
        assert fresh.snapshots.read(old.snapshot) == old
        for file in old.files:
            assert (fresh.folder / file.path).read_bytes() == (table.folder / file.path).read_bytes()
    # and from fragments that were rewritten
    before = tree(table.folder)
    again = replace(table.fragments, erased=Erasures(Storage(), str(table.folder)).read())
    table.fragments = again
    assert is_current(table.snapshots, table.publication(*first, task=OTHER)) == table.snapshots.read(4)
    shutil.rmtree(table.folder / "_snapshots")
    shutil.rmtree(table.folder / "data")
    published = table.publish(*first, task=OTHER)
    assert {file.sha256 for file in published.files} == {file.sha256 for file in fresh.snapshots.read(4).files}
    assert published.counts == fresh.snapshots.read(4).counts
    assert before


def test_what_is_erased_stays_away_while_the_corpus_has_it(table: Table):
    erased(table)
    table.fragments = replace(table.fragments, erased=Erasures(Storage(), str(table.folder)).read())
    manifest = table.publish(table.documents(6, [PERSON, "a-6"]), *units(table))
    assert manifest.counts["erased"] == 4
    assert PERSON not in whole(table, manifest)
    assert table.documents(6, [PERSON, "a-6"]).documents == 2  # as planned: rows and erased documents add up


def test_the_receipt_says_what_and_when_without_an_id(table: Table):
    done = erased(table)
    (receipt,) = (table.folder / "_erased").glob("*.json")
    tree = json.loads(receipt.read_bytes())
    (run,) = tree["runs"]
    assert (tree["ids"], run["finished_at"] >= run["began_at"], run["left"]) == (4, True, [])
    assert run == json.loads(json.dumps(run | {"rookery": done.run.rookery}))
    assert sum(path.startswith("_units/key/") for path in run["rewritten"]) == 3
    assert sum(path.startswith("_snapshots/") for path in run["rewritten"]) == 4
    assert sum(path.startswith("_candidates/") for path in run["rewritten"]) == 1
    assert {path.split("/")[1] for path in run["removed"] if path.startswith("_units")} == {
        *("tallies", "documents", "computed")
    }
    assert sum("snapshot=00000000000000000009" in path for path in run["removed"]) == 2
    assert not [path for path in (table.folder / "_erased").iterdir() if path.suffix == ".unfinished"]


def test_ids_that_are_nowhere_change_nothing_but_the_list(table: Table):
    before = tree(table.folder)
    assert erased(table, "nobody").ids == set()
    after = tree(table.folder)
    assert {path for path in after if path not in before} == {path for path in after if path.startswith("_erased/")}
    assert {path: after.get(path) for path in before} == before


def test_looking_changes_nothing(table: Table):
    before = tree(table.folder)
    places = look_for(table.snapshots, GONE)
    assert places.ids == {PERSON, FAILED, ALONE}
    assert tree(table.folder) == before


def test_what_is_no_table_is_refused(tmp_path: Path):
    for look in (look_for, lambda snapshots, ids: erase_documents(snapshots, ids, print)):
        with pytest.raises(ConfigError, match=f"{tmp_path}: is no table"):
            look(Snapshots(Storage(), str(tmp_path)), GONE)
    assert not [*tmp_path.iterdir()]


def without_lists(folder: Path) -> dict[str, bytes]:
    """Whatever repeats: the salt does not, nor do lists and receipts."""
    return {path: data for path, data in tree(folder).items() if not path.startswith("_erased/")}


def test_killed_at_any_change_and_run_again_it_ends_the_same(tmp_path: Path):
    table = filled_with_little(tmp_path / "table")
    before = {manifest.snapshot: whole(table, manifest) for manifest in every_manifest(table)}
    pristine = shutil.copytree(table.folder, tmp_path / "pristine")
    erased(table)
    there = {manifest.snapshot: whole(table, manifest) for manifest in every_manifest(table)}
    expected = without_lists(table.folder)
    for step in itertools.count(1):
        again = Table(shutil.copytree(pristine, tmp_path / f"killed-{step}"))
        try:
            erased(again, storage=dying(step))
        except DyingError:
            for manifest in every_manifest(again):  # no reader of a snapshot misses a file, or sees a part of it
                assert whole(again, manifest) in (before[manifest.snapshot], there[manifest.snapshot])
            erased(again)
            assert without_lists(again.folder) == expected
            assert {path.suffix for path in (again.folder / "_erased").iterdir()} == {"", ".ids", ".json"}
        else:
            break
    assert step > 20  # changes, each of which it dies before


def test_a_killed_erasure_is_finished_by_one_of_other_ids(table: Table):
    with pytest.raises(DyingError):
        erased(table, storage=dying(12))
    assert holding(table.folder, *GONE)
    assert not Erasures(Storage(), str(table.folder)).read().finished
    erased(table, "a-4")
    assert holding(table.folder, *GONE, "a-4") == set()
    assert Erasures(Storage(), str(table.folder)).read().finished
    assert len([*(table.folder / "_erased").glob("*.json")]) == 2


def test_what_is_published_before_a_killed_erasure_is_finished_holds_no_erased_id(table: Table):
    with pytest.raises(DyingError):  # the list is there, and nothing else is done
        erased(table, storage=dying(4))
    table.fragments = replace(table.fragments, erased=Erasures(Storage(), str(table.folder)).read())
    assert not table.fragments.erased.finished
    manifest = table.publish(*units(table), table.documents(7, ["a-7"]), task=OTHER)
    assert whole(table, manifest) == ["a-1", "a-2", "a-4", "a-7", "z-1", "z-2", "z-4"]
    assert manifest.counts["erased"] == 3
    with pytest.raises(ConflictError, match="run `rookery erase` to its end first"):
        roll_back(table.snapshots, 1, {})
    erased(table)
    assert holding(table.folder, *GONE) == set()
    after = table.snapshots.read(manifest.snapshot)
    # the parent has lost those documents too, and its files have other names
    assert manifest.changes
    assert after == replace(manifest, removed=after.removed, changes=replace(manifest.changes, removed=0))
    assert {*after.removed} <= {file.path for file in table.snapshots.read(after.parent or 0).files}
    assert roll_back(table.snapshots, 2, {}).counts["erased"] == 3


def test_a_run_that_was_planned_before_publishes_nothing(table: Table):
    erased(table)
    before = [manifest.snapshot for manifest in every_manifest(table)]
    with pytest.raises(RetryableError, match="ids were erased from this table meanwhile; nothing was published"):
        table.publish(*units(table), table.documents(8, [PERSON]))
    assert [manifest.snapshot for manifest in every_manifest(table)] == before


def test_it_is_not_done_before_the_runs_that_began_before_it(table: Table):
    with Heartbeats(table.fragments).beating():
        with pytest.raises(RetryableError, match=r"is erased. But 1 run is at work that began before"):
            erased(table)
        assert holding(table.folder, *GONE) == set()
        table.documents(8, [PERSON, "b"])  # what it had read
        assert holding(table.folder, *GONE)
        with pytest.raises(RetryableError):
            erased(table)
    with Heartbeats(table.fragments).beating():  # one that began later knows the list
        table.documents(9, [PERSON, "b"])
        erased(table)
    assert holding(table.folder, *GONE) == set()
    assert Erasures(Storage(), str(table.folder)).read().finished


def test_one_that_was_killed_is_waited_for_and_one_at_work_is_not_disturbed(
    table: Table, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(heartbeats, "ALIVE_SECONDS", 1.0)
    for module, name, seconds in (
        (heartbeats, "BEAT_SECONDS", 0.1),
        (erasure, "BEAT_SECONDS", 0.1),
        (erasure, "LOOK_SECONDS", 0.1),
    ):
        monkeypatch.setattr(module, name, seconds)
    erasures, lines = Erasures(Storage(), str(table.folder)), list[str]()
    Storage().put(Heartbeats(erasures).uri("killed"), b"")
    erase_documents(table.snapshots, [PERSON], lines.append)
    assert lines == ["another erasure is at work, or was killed less than a minute ago: waiting for it …"]
    monkeypatch.setattr(erasure, "ALIVE_SECONDS", 0.3)
    with Heartbeats(erasures).beating(), pytest.raises(ConflictError, match="These ids are on the list"):
        erased(table, FAILED)
    assert holding(table.folder, FAILED)
    assert len(erasures.read().names) == 2


def test_partition_folders_that_are_called_by_an_id_are_reported(tmp_path: Path):
    table = Table(tmp_path / "table")
    one = replace(table.documents(1, ["a", "b"]), partitions=(("part", "a"), ("day", "1")))
    table.publish(one)
    assert erased(table, "a").run.left == ["part"]


def test_a_job_that_names_the_one_file_of_a_document(table: Table):
    path = table.folder / "_snapshots" / f"{1:020d}.json"
    manifest = table.snapshots.read(1)
    run = {"job": {"corpus": {"uris": [ALONE, "file:///c/other.txt"]}}}
    path.write_bytes(replace(manifest, run=run).dump())
    erased(table)
    assert table.snapshots.read(1).run == {"job": {"corpus": {"uris": ["(erased)", "file:///c/other.txt"]}}}


def test_an_id_that_several_documents_had_is_no_duplicate_any_more(tmp_path: Path):
    table = Table(tmp_path / "table")
    two = [table.documents(1, ["a", "b", "c"]), table.documents(2, ["c", "b", "d"])]
    publication = replace(table.publication(*two), rules=PublicationRules(ErrorBudget(1.0), "keep"))
    manifest = publish(table.snapshots, table.fragments, publication, {})
    assert manifest.counts["duplicate_ids"] == 2
    erased(table, "b", "d")
    counts = table.snapshots.read(1).counts
    assert (counts["duplicate_ids"], counts["erased"], counts["documents"]) == (1, 3, 3)
