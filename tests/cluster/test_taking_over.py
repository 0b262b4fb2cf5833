"""Documents whose text has scores are not computed again, and the table is the one that computing everything gives."""

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from jobs.sample import CHECKPOINT
from pipeline.config.label import parse_job
from pipeline.planning.plan import Plan, make_plan
from pipeline.runs.unit_done import UnitDone
from pipeline.schema import fragment_schema
from pipeline.tables.content_index import ContentIndex
from pipeline.tables.scratch import Scratch
from tests.dying_storage import DyingError, dying
from tests.labelling import label_here

Document = dict[str, Any]
NIGHTS = iter(range(1, 10**9))


def document(number: int, text: str | None = None) -> Document:
    return {"id": f"doc-{number}", "text": f"a proposal of number {number} " * 3 if text is None else text}


def write(folder: Path, files: Mapping[str, Sequence[Document]]) -> None:
    """Makes a corpus of JSON Lines, all of it new to a planner: each file has a time that no other has."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, documents in files.items():
        lines = "".join(json.dumps(one) + "\n" for one in documents).encode()
        (folder / name).write_bytes(gzip.compress(lines, mtime=0) if name.endswith(".gz") else lines)
        os.utime(folder / name, (next(NIGHTS),) * 2)


def plan(folder: Path, *overrides: str, table: str = "table") -> Plan:
    job = [f"corpus.uris={folder}/corpus", f"checkpoint.uri={CHECKPOINT}", f"table.uri={folder}/{table}"]
    return make_plan(parse_job("", [*job, "corpus.id_column=id", "compute.dtype=fp32", *overrides])).cut_streams()


def label(folder: Path, *overrides: str) -> list[UnitDone]:
    return label_here(plan(folder, *overrides))


def computed(done: Iterable[UnitDone]) -> int:
    return sum(unit.documents - unit.taken_over - unit.errors for unit in done)


def check_as_from_scratch(folder: Path) -> None:
    """Every fragment has the bytes of one that a table of its own gives, and nothing else is left."""
    expected = plan(folder, table=f"scratch-{next(NIGHTS)}")
    label_here(expected)
    expected, ours = expected.cut_streams(), plan(folder)
    assert set(ours.unit_ids) <= ours.finished
    for unit in ours.unit_ids:
        here, there = (Path(f.uri(unit).removeprefix("file://")) for f in (ours.fragments, expected.fragments))
        assert here.read_bytes() == there.read_bytes(), unit
    scratch = Scratch(ours.fragments)
    assert not ours.storage.find(scratch.uri("documents"))
    assert not ours.storage.find(scratch.uri("computed"))


def test_an_edited_document_is_the_only_one_that_is_computed(tmp_path: Path):
    files = {"a.jsonl": [document(n) for n in range(6)], "b.jsonl": [document(n) for n in range(6, 9)]}
    write(tmp_path / "corpus", files)
    assert computed(label(tmp_path)) == 9
    files["a.jsonl"][3] = document(3, "quite another text")
    write(tmp_path / "corpus", files)
    done = label(tmp_path)
    assert (computed(done), sum(unit.taken_over for unit in done)) == (1, 8)
    assert sum(unit.windows for unit in done) == 1
    check_as_from_scratch(tmp_path)


def test_files_that_are_renamed_compacted_and_sorted_again_are_read_and_not_computed(tmp_path: Path):
    documents = [document(n) for n in range(9)]
    write(tmp_path / "corpus", {"a.jsonl": documents[:4], "b.jsonl": documents[4:7], "c.jsonl": documents[7:]})
    label(tmp_path)
    write(tmp_path / "corpus", {"all.jsonl": [*documents[7:], *reversed(documents[:7])]})
    done = label(tmp_path)
    assert (computed(done), sum(unit.windows for unit in done)) == (0, 0)
    check_as_from_scratch(tmp_path)


def test_one_edited_line_of_a_compressed_file_costs_one_document(tmp_path: Path):
    """Its parts are counted by that reading, and a part's documents are looked for wherever they were before."""
    documents = [document(n) for n in range(12)]
    write(tmp_path / "corpus", {"a.jsonl.gz": documents})
    cut = "units.text_bytes=300"
    assert computed(label(tmp_path, cut)) == 12
    write(tmp_path / "corpus", {"a.jsonl.gz": [document(99, "a new one at the top"), *documents]})
    done = label(tmp_path, cut)
    assert computed(done) == 1
    planned = plan(tmp_path, cut)
    assert len(planned.units) > 2
    assert set(planned.unit_ids) <= planned.finished


def test_documents_that_cannot_be_labelled_are_errors_and_start_no_encoder(tmp_path: Path):
    files = {"a.jsonl": [document(0), document(1, " \n"), document(2, ""), {"id": "null", "text": None}]}
    write(tmp_path / "corpus", files)
    label(tmp_path)
    write(tmp_path / "corpus", files)
    (unit,) = label(tmp_path)
    assert (unit.documents, unit.errors, unit.taken_over, unit.incomplete) == (4, 3, 1, False)
    check_as_from_scratch(tmp_path)


def test_what_was_an_error_of_the_encoder_is_computed_again(tmp_path: Path):
    write(tmp_path / "corpus", {"a.jsonl": [document(0), document(1)]})
    planned = plan(tmp_path)
    label_here(planned)
    (unit,) = planned.unit_ids
    path = Path(planned.fragments.uri(unit).removeprefix("file://"))
    rows = planned.fragments.read([unit])[0].to_pylist()
    died = {"stage": "predict", "reason": "process_died", "message": "it ended", "logits": None}
    rows[1] |= died
    path.unlink()
    table = pa.Table.from_pylist(rows, schema=fragment_schema(planned.fragments.output))
    planned.fragments.write(unit, table)
    write(tmp_path / "corpus", {"a.jsonl": [document(0), document(1)]})
    assert computed(label(tmp_path)) == 1
    check_as_from_scratch(tmp_path)


def test_a_lost_index_is_made_again(tmp_path: Path):
    documents = [document(n) for n in range(4)]
    for name in ("a", "b", "c"):
        write(tmp_path / "corpus", {f"{name}.jsonl": documents})
        label(tmp_path)
        for file in (tmp_path / "table" / "_index").rglob("*.parquet"):
            file.unlink()
    write(tmp_path / "corpus", {"d.jsonl": documents})
    assert computed(label(tmp_path)) == 0
    assert len(ContentIndex(plan(tmp_path).fragments).covered()) == 3


def test_fragments_that_went_are_computed_again_though_the_index_names_them(tmp_path: Path):
    documents = [document(n) for n in range(4)]
    write(tmp_path / "corpus", {"a.jsonl": documents})
    label(tmp_path)
    write(tmp_path / "corpus", {"b.jsonl": documents})
    planned = plan(tmp_path)
    ContentIndex(planned.fragments).extend(planned.orphans)
    for file in (tmp_path / "table" / "_units").rglob("*.parquet"):
        file.unlink()
    assert computed(label_here(planned)) == 4  # of a plan that was made before they went
    check_as_from_scratch(tmp_path)


def test_a_run_that_was_ended_in_between_goes_on_from_what_it_had_computed(tmp_path: Path):
    files = {"a.jsonl": [document(n) for n in range(4)]}
    write(tmp_path / "corpus", files)
    label(tmp_path)
    files["a.jsonl"].append(document(4))
    write(tmp_path / "corpus", files)
    planned = plan(tmp_path)
    whole = plan(tmp_path, table="elsewhere")
    label_here(whole)
    (unit,) = planned.unit_ids
    rows = whole.fragments.read([unit])[0]
    Scratch(planned.fragments).write_computed(unit, rows.slice(4))
    done = label_here(planned)
    assert sum(unit.windows for unit in done) == 0
    check_as_from_scratch(tmp_path)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_change_and_run_again_it_ends_the_same(after: bool, tmp_path: Path):
    """The second run begins with what the first has left: the scratch, fragments."""
    first = [document(n) for n in range(4)]
    write(tmp_path / "corpus", {"a.jsonl": first})
    label(tmp_path)
    write(tmp_path / "corpus", {"b.jsonl": first[:3], "c.jsonl": [first[3], document(5), document(6, " ")]})
    undisturbed = shutil.copytree(tmp_path / "table", tmp_path / "undisturbed")
    label_here(plan(tmp_path, table="undisturbed"))
    deaths = 0
    # 2 descriptions, an index, a row that is computed, 2 fragments; what may be kept of each unit is removed, and is
    # not there in one of four cases
    for step in range(1, 2 + 1 + 1 + 2 + 4 + 1):
        table = shutil.copytree(tmp_path / "table", tmp_path / str(step)).name
        try:
            label_here(replace(plan(tmp_path, table=table), storage=dying(step, after=after)))
        except DyingError:
            deaths += 1
        again = plan(tmp_path, table=table)
        again.sweep()
        label_here(again)
        assert tree(tmp_path / table) == tree(undisturbed)
    assert deaths >= 9


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_equal_texts_are_computed_once_on_demand(tmp_path: Path):
    same = "word for word the same"
    a = [document(0), document(1, same), document(2, same)]
    b = [document(3, same), document(4)]
    write(tmp_path / "corpus", {"a.jsonl": a, "b.jsonl": b, "c.jsonl": [document(5, same)]})
    done = label(tmp_path, "deduplicate=true")
    assert sum(unit.windows for unit in done) == 3
    assert sum(unit.documents for unit in done) == 6
    check_as_from_scratch(tmp_path)


def test_equal_texts_of_an_earlier_run_are_not_computed_again_on_demand(tmp_path: Path):
    write(tmp_path / "corpus", {"a.jsonl": [document(0)]})
    label(tmp_path)
    with (tmp_path / "corpus" / "b.jsonl").open("w") as file:
        file.write(json.dumps(document(0) | {"id": "another"}))
    assert sum(unit.windows for unit in label(tmp_path, "deduplicate=true")) == 0
    check_as_from_scratch(tmp_path)


TEXTS = st.sampled_from(["one text", "two texts", "a third", " ", "", "no. 4 " * 30, None])
FILES = st.lists(st.lists(st.tuples(st.integers(0, 9), TEXTS), min_size=1, max_size=5), min_size=1, max_size=3)


@settings(max_examples=12, deadline=None)
@given(nights=st.lists(FILES, min_size=2, max_size=3), deduplicate=st.booleans())
def test_any_nights_end_as_from_scratch(
    nights: list[list[list[tuple[int, str | None]]]], deduplicate: bool, tmp_path_factory: pytest.TempPathFactory
):
    """What is computed is what has no scores; DuckDB counts it from the corpora themselves."""
    folder = tmp_path_factory.mktemp("nights")
    seen: list[str] = []
    for night in nights:
        files = {
            f"{number}.jsonl": [{"id": f"{id_}-{at}-{number}", "text": text} for at, (id_, text) in enumerate(file)]
            for number, file in enumerate(night)
        }
        write(folder / "corpus", files)
        done = label(folder, f"deduplicate={deduplicate}".lower())
        texts = [text for file in night for _, text in file if text and not text.isspace()]
        fresh = duckdb.sql(
            f"select count({'distinct ' if deduplicate else ''}t) from (select unnest($texts::varchar[]) t) "
            "where t not in (select unnest($seen::varchar[]))",
            params={"texts": texts, "seen": seen},
        ).fetchall()
        assert sum(unit.windows for unit in done) == fresh[0][0]
        seen += texts
    check_as_from_scratch(folder)
