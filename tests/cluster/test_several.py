"""One reading for several checkpoints: each table is, byte for byte, the one that a run of its own gives."""

import gzip
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.cluster.read_stage as read_stage
from jobs.sample import CORPUS
from pipeline.cluster.needs import encoders
from pipeline.planning.plan import Plan, make_plan, plans_of
from pipeline.planning.survey import make_surveys
from pipeline.tables.attempts import Attempts
from pipeline.tables.erased_ids import Erasures
from pipeline.text.packer import Packer
from tests.labelling import label_here
from tests.several import files_below, lines, several_jobs, three_checkpoints


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints, and a corpus: a large row group, a stream, a file with a document that can't be labelled."""
    folder = tmp_path_factory.mktemp("several")
    three_checkpoints(folder)
    write_corpus(folder)
    return folder


def write_corpus(folder: Path) -> None:
    texts = [text[:900] for text in pq.read_table(CORPUS / "test.parquet")["text"].to_pylist()[:30]]
    documents = [(f"doc-{number}", text) for number, text in enumerate(texts)]
    (folder / "corpus").mkdir()
    table = pa.table({"id": [id_ for id_, _ in documents[:12]], "text": [text for _, text in documents[:12]]})
    pq.write_table(table, folder / "corpus" / "a.parquet")
    (folder / "corpus" / "b.jsonl.gz").write_bytes(gzip.compress(lines(documents[12:24]), mtime=0))
    (folder / "corpus" / "c.jsonl").write_bytes(lines([*documents[24:], ("empty", " "), ("null", None)]))
    for path in (folder / "corpus").iterdir():
        os.utime(path, (1, 1))


def checkpoints(world: Path) -> dict[str, Path]:
    return {name: world / name for name in ("sample", "same", "other")}


def plans(world: Path, tables: str, *overrides: str) -> list[Plan]:
    return plans_of(make_surveys(several_jobs(world, checkpoints(world), tables, *overrides)))


def label_apart(world: Path, tables: str, *overrides: str) -> None:
    for job in several_jobs(world, checkpoints(world), tables, *overrides):
        label_here(make_plan(job))


def tables_below(folder: Path) -> dict[str, dict[str, bytes]]:
    return {path.name: files_below(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def apart(world: Path) -> dict[str, dict[str, bytes]]:
    """What runs of their own give."""
    label_apart(world, "apart")
    return tables_below(world / "apart")


def unlink_fragments(table: Path, numbers: set[int]) -> set[str]:
    """Takes the fragments with these numbers, in the order of their names, away; gives the names that are left."""
    found = sorted(path for path in (table / "_units").rglob("*.parquet"))
    for number in numbers & set(range(len(found))):
        found[number].unlink()
    return {path.stem for path in found if path.exists()}


def test_the_corpus_is_read_once_and_tokenized_once_for_each_tokenizer(
    world: Path, apart: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
):
    """The three real functions, counted."""
    counts: Counter[str] = Counter()

    def counted(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def wrapper(*arguments: Any) -> Any:
            counts[name] += 1
            return function(*arguments)

        monkeypatch.setattr(owner, name, wrapper)

    counted(read_stage, "read_pass")
    counted(Packer, "packs")
    planned = plans(world, "counted")
    done = label_here(*planned)
    assert tables_below(world / "counted") == apart
    units = len(planned[0].cut_streams().units)
    assert Counter(unit.table for unit in done) == {0: units, 1: units, 2: units}
    assert counts == {"read_pass": len(list(planned[0].passes)), "packs": 2 * units}
    assert {unit.errors for unit in done if unit.errors} == {2}


@pytest.mark.parametrize(
    ("lost", "uncut", "marked"),
    [
        (({0, 3}, {1, 3, 9}, set()), set(), set()),
        (({2, 7}, set(range(12)), {0, 1}), {1}, set()),
        (({5}, {4, 5}, {5, 6, 7}), {0, 1, 2}, set()),
        ((set(range(20)), {1}, {8, 9}), {2}, {0, 2}),
    ],
    ids=["some units", "a stream that one has not cut", "a stream that none has cut", "begun before"],
)
def test_tables_that_lack_different_units_end_the_same(
    lost: tuple[set[int], ...],
    uncut: set[int],
    marked: set[int],
    world: Path,
    apart: dict[str, dict[str, bytes]],
    tmp_path: Path,
):
    """Marked: reading has ended a process before, so that processes apart read for every table."""
    kept: list[set[str]] = []
    for number, (name, files) in enumerate(apart.items()):
        for path, data in files.items():
            if number not in uncut or "/cuts/" not in path:
                (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name / path).write_bytes(data)
        kept.append(unlink_fragments(tmp_path / name, lost[number]))
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*.parquet")}
    jobs = several_jobs(world, {name: world / name for name in apart}, "none")
    tables = [job.table.model_copy(update={"uri": f"{tmp_path}/{name}"}) for job, name in zip(jobs, apart, strict=True)]
    moved = [job.model_copy(update={"table": table}) for job, table in zip(jobs, tables, strict=True)]
    planned = plans_of(make_surveys(moved))
    for plan in (planned[number] for number in marked):
        mark = Attempts(plan.fragments, "read").uri(next(plan.passes)[0].id(plan.scoring.key))
        plan.storage.put_if_absent(mark, b"ended ")
    done = label_here(*planned)
    assert {path: path.stat().st_ino for path in before} == before, "what was done was done again"
    for number, fragments in enumerate(kept):
        assert not {unit.unit for unit in done if unit.table == number} & fragments
    for name, files in apart.items():
        ours = files_below(tmp_path / name)
        assert {path: ours[path] for path in files} == files
        assert not [path for path in ours if path.endswith(".begun")]


def test_another_night_is_described_once_and_taken_over_in_each_table(world: Path, tmp_path: Path):
    """One document is edited, a file has another name, and one of the tables is new."""
    folder = tmp_path
    for name in checkpoints(world):
        (folder / name).symlink_to(world / name)
    write_corpus(folder)
    two = {name: path for name, path in checkpoints(folder).items() if name != "same"}
    label_here(*plans_of(make_surveys(several_jobs(folder, two, "tables"))))
    (folder / "corpus" / "b.jsonl.gz").rename(folder / "corpus" / "z.jsonl.gz")
    edited = (folder / "corpus" / "c.jsonl").read_bytes().replace(b"doc-25", b"doc-new").replace(b" the ", b" a ", 1)
    (folder / "corpus" / "c.jsonl").write_bytes(edited)

    done = label_here(*plans(folder, "tables"))
    computed = Counter(unit.table for unit in done for _ in range(unit.windows))
    assert (computed[0], computed[2]) == (1, 1)
    assert computed[1] >= 30
    assert [sum(unit.taken_over for unit in done if unit.table == table) for table in range(3)] == [17, 0, 17]
    label_apart(folder, "apart")
    for name in checkpoints(folder):
        ours, expected = (fragments(folder / tables / name) for tables in ("tables", "apart"))
        assert {path: ours[path] for path in expected} == expected


def fragments(table: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_below(table).items() if name.endswith(".parquet") and "_units" in name}


def test_equal_texts_are_computed_once_in_each_table(world: Path, apart: dict[str, dict[str, bytes]]):
    done = label_here(*plans(world, "deduplicated", "deduplicate=true"))
    assert {name: set(files) for name, files in tables_below(world / "deduplicated").items()}
    for name, files in apart.items():
        ours = fragments(world / "deduplicated" / name)
        assert ours == {path: data for path, data in files.items() if path in ours}
        assert len(ours) == sum(path.endswith(".parquet") for path in files)
    assert len(done) > len(apart)


def test_ids_that_were_erased_from_one_table_are_in_the_other(world: Path):
    jobs = several_jobs(world, checkpoints(world), "erased")
    Erasures(make_plan(jobs[0]).storage, jobs[0].table.uri).begin(["doc-3"])
    planned = plans_of(make_surveys(jobs))
    done = label_here(*planned)
    documents = [sum(unit.documents for unit in done if unit.table == table) for table in range(3)]
    assert documents == [31, 32, 32]


def test_one_actor_holds_every_checkpoint():
    compute = several_jobs(Path("/x"), {"a": Path("a"), "b": Path("b")}, "t", "compute.num_gpus=1")[0].compute
    need = encoders(compute, 2)
    assert need.bundles() == encoders(compute).bundles()
    assert "1 encoder actor of 1 CPU and 1 GPU for 2 checkpoints" in str(need)
