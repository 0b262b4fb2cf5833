"""Each warning from a corpus that deserves it, and none from one that doesn't."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.label import parse_job
from pipeline.planning.plan import plan_of
from pipeline.planning.plan_warnings import PlanWarning, plan_warnings
from pipeline.planning.sampling import take_sample
from pipeline.planning.survey import make_survey


def warnings(folder: Path, *overrides: str) -> list[PlanWarning]:
    settings = [f"corpus.uris={folder}/corpus", f"checkpoint.uri={CHECKPOINT}", f"table.uri={folder}/table"]
    survey = make_survey(parse_job("", [*settings, *overrides]))
    plan = plan_of(survey)
    return plan_warnings(plan, take_sample(plan, survey.scorer.tokenizer))


def lines(path: Path, texts: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def the_only(found: list[PlanWarning], kind: str, *parts: str) -> None:
    assert [one.kind for one in found] == [kind]
    for part in parts:
        assert part in found[0].message


def test_a_good_corpus_has_none(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    pq.write_table(pq.read_table(CORPUS / "test.parquet").slice(0, 20), tmp_path / "corpus/a.parquet")
    assert warnings(tmp_path, "corpus.id_column=id", "units.text_bytes=100kB") == []


def test_a_row_group_of_many_units(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    for name, count in (("large", 400), ("larger", 800), ("fine", 4)):
        table = pa.table({"text": ["some words " * 10] * count})
        pq.write_table(table, tmp_path / f"corpus/{name}.parquet", use_dictionary=False)
    found = warnings(tmp_path, "units.text_bytes=10kB")
    the_only(found, "giant_row_group", "larger.parquet: row group 0 holds about", "and 1 more are as large", "10 kB")


def test_documents_that_are_too_large(tmp_path: Path):
    lines(tmp_path / "corpus/a.jsonl", ["short", "word " * 1000])
    overrides = ["corpus.max_document_bytes=2kB", "max_errors=100%"]
    the_only(warnings(tmp_path, *overrides), "giant_document", "1 of 2 sampled documents", "max_document_bytes 2,000")


def test_a_document_of_many_units(tmp_path: Path):
    lines(tmp_path / "corpus/a.jsonl", ["short", "word " * 10_000])
    found = warnings(tmp_path, "units.text_bytes=10kB")
    the_only(found, "giant_document", "a.jsonl#", "50 kB of text", "units.text_bytes 10,000")


def test_text_files_that_are_too_large_are_known_by_their_names(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"corpus/{name}.txt").write_text("word " * 1000)
    (tmp_path / "corpus/c.txt").write_text("word")
    found = warnings(tmp_path, "corpus.max_document_bytes=2kB", "max_errors=100%")
    assert {one.kind for one in found} == {"giant_document"}
    assert "a.txt and 1 other files: larger than corpus.max_document_bytes 2,000" in found[0].message


def test_thousands_of_tiny_files(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    for number in range(1000):
        (tmp_path / f"corpus/{number}.txt").write_text("a few words")
    the_only(warnings(tmp_path), "tiny_files", "1,000 files such as", "11 bytes on average", "16 MB")


@pytest.mark.parametrize("large", [100, 10])
def test_a_compressed_file_that_has_most(tmp_path: Path, large: int):
    (tmp_path / "corpus").mkdir()
    for name, count in (("a", large), ("b", 10), ("c", 10)):
        with (tmp_path / f"corpus/{name}.csv").open("w") as file:
            file.write("text\n" + "some words of a document\n" * count)
    found = warnings(tmp_path, "units.text_bytes=200")
    if large == 10:
        assert found == []
    else:
        the_only(found, "skew", "a.csv holds 8", "one process has to read it")


def test_a_partition_that_has_most(tmp_path: Path):
    for name, count in (("de", 10), ("en", 100), ("fr", 10)):
        lines(tmp_path / f"corpus/lang={name}/a.jsonl", ["some words of a document"] * count)
    overrides = ["units.text_bytes=200", "table.partition_by=lang"]
    the_only(warnings(tmp_path, *overrides), "skew", "partition lang=en holds 83%", "table.partition_by")
    assert warnings(tmp_path, overrides[0]) == []


@pytest.mark.parametrize(("limit", "kinds"), [("1%", ["errors"]), ("2", ["errors"]), ("50%", []), ("3", [])])
def test_documents_that_fail_are_more_than_may_be(tmp_path: Path, limit: str, kinds: list[str]):
    lines(tmp_path / "corpus/a.jsonl", ["a text", "", None, " ", "another", "a third"])
    found = warnings(tmp_path, f"max_errors={limit}")
    assert [one.kind for one in found] == kinds
    assert all("3 of 6 sampled documents can't be labelled (empty_text 2, null_text 1)" in one.message for one in found)


def test_scores_that_may_be_taken_over(tmp_path: Path):
    lines(tmp_path / "corpus/a.jsonl", ["a text", "another"])
    the_only(warnings(tmp_path, "deduplicate=true"), "takes_over", "deduplicate is set")
