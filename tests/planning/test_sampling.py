"""Samples of small corpora, beside what a run counts in all of them."""

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.label import parse_job
from pipeline.planning import sample_places, sample_reading, sampling
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.sample_places import sample_frame
from pipeline.planning.sample_totals import Estimated
from pipeline.planning.sampling import Sample, take_sample
from pipeline.planning.stored_bytes import missing_bytes, stored_bytes
from pipeline.text.tokenizer import Tokenizer
from tests.jobs.corpora import documents, write_every_format
from tests.labelling import label_here

COUNTED = ("documents", "errors", "windows", "tokens", "padding")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.open(CHECKPOINT)


def planned(corpus: Path | str, table: Path, *overrides: str) -> Plan:
    settings = [f"corpus.uris={corpus}", f"checkpoint.uri={CHECKPOINT}", f"table.uri={table}", "corpus.id_column=id"]
    return make_plan(parse_job("", [*settings, *overrides]))


def write_lines(path: Path, texts: list[str]) -> None:
    lines = "".join(json.dumps({"id": f"{path.name}-{n}", "text": text}) + "\n" for n, text in enumerate(texts))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())


def made_up_texts(count: int, seed: int) -> list[str]:
    """Of skewed lengths."""
    random = np.random.default_rng(seed)
    words = np.array(["proposal", "trait", "of", "numbers", "and", "kubernetes", "upgrade", "the"])
    lengths = random.lognormal(5, 1, count).astype(int) + 1
    return [" ".join(words[random.integers(0, len(words), length)]) for length in lengths]


def test_a_sample_of_everything_is_what_a_run_counts(tmp_path: Path, tokenizer: Tokenizer):
    some = documents(20)
    write_every_format(tmp_path / "corpus", some)
    write_lines(tmp_path / "corpus/collection=more/bad.jsonl", ["a text", " ", "", "another text"])
    plan = planned(f"{tmp_path}/corpus/**", tmp_path / "table", "corpus.text_column=text")
    sample = take_sample(plan, tokenizer)
    assert sample.is_whole
    labelled = label_here(plan)
    for name in COUNTED:
        assert sample.total(name) == Estimated.known(sum(getattr(unit, name) for unit in labelled)), name
    lengths = Counter[int]()
    for unit in labelled:
        lengths.update(dict(enumerate(unit.lengths)))
    assert {bits: count for bits, count in enumerate(sample.length_totals()) if count} == +lengths
    assert sample.reasons == {"empty_text": 2}
    # and of what is done then nothing is left to count
    assert missing_bytes(planned(f"{tmp_path}/corpus/**", tmp_path / "table", "corpus.text_column=text")) == []


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of files, one of long documents; each sorted by length, as files may be."""
    folder = tmp_path_factory.mktemp("made-up")
    write_lines(folder / "kind=lines/a.jsonl", made_up_texts(1500, 0))
    write_lines(folder / "kind=lines/b.jsonl", sorted(made_up_texts(900, 1), key=len))
    for number in range(3):
        texts = sorted(made_up_texts(400, 2 + number), key=len)
        ids = [f"{number}-{n}" for n in range(len(texts))]
        (folder / "kind=parquet").mkdir(exist_ok=True)
        table = pa.table({"id": ids, "text": texts})
        pq.write_table(table, folder / f"kind=parquet/{number}.parquet", row_group_size=150)
    return folder


def is_near(sample: Sample, truth: dict[str, float], *names: str) -> bool:
    return all(abs(sample.total(name).value / truth[name] - 1) <= 0.15 for name in names)


def test_samples_of_a_part_are_near_and_their_intervals_hold(
    made_up: Path, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
):
    plan = planned(f"{made_up}/**/*", tmp_path / "table", "units.text_bytes=100kB")
    monkeypatch.setattr(sample_places, "WHOLE_BYTES", 10**8)
    whole = take_sample(plan, tokenizer)
    assert whole.is_whole
    truth = {name: whole.total(name).value for name in whole.counts}
    monkeypatch.setattr(sample_places, "WHOLE_BYTES", 0)
    monkeypatch.setattr(sample_places, "RANGE_BYTES", 20_000)
    monkeypatch.setattr(sample_reading, "PLACE_DOCUMENTS", 5)
    samples = [take_sample(plan, tokenizer, str(seed)) for seed in range(10)]
    assert all(not sample.is_whole and sample.documents < 0.15 * truth["documents"] for sample in samples)
    assert all(is_near(sample, truth, "tokens", "windows", "documents", "text_bytes") for sample in samples)
    tokens = [sample.total("tokens") for sample in samples]
    assert sum(one.low <= truth["tokens"] <= one.high for one in tokens) >= 8
    assert len({one.value for one in tokens}) == 10
    again = take_sample(plan, tokenizer, "0")
    assert again.total("tokens") == tokens[0]  # the same seed gives the same sample


def test_the_beginning_of_a_compressed_file_stands_for_the_rest(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
):
    write_lines(tmp_path / "corpus/a.jsonl.gz", [text[::-1] for text in made_up_texts(3000, 7)])
    plan = planned(tmp_path / "corpus", tmp_path / "table")
    truth = {name: values.sum() for name, values in take_sample(plan, tokenizer).counts.items()}
    monkeypatch.setattr(sample_places, "WHOLE_BYTES", 0)
    monkeypatch.setattr(sample_places, "START_BYTES", 100_000)
    sample = take_sample(plan, tokenizer)
    assert sample.start_share == 1
    assert is_near(sample, truth, "tokens", "windows", "documents", "text_bytes")
    assert sample.reasons == {}  # what is cut off is no damage
    assert sample.total("text_bytes").relative_half_width >= 0.09  # however alike its places are


def test_units_that_are_finished_are_not_sampled(made_up: Path, tmp_path: Path):
    plan = planned(f"{made_up}/**/*", tmp_path / "table", "units.text_bytes=100kB")
    weights = stored_bytes(plan.units)
    of_file = Counter[str]()
    for unit, n_bytes in zip(plan.units, weights, strict=True):
        of_file[unit.file.uri] += n_bytes
    assert of_file == pytest.approx({file.uri: file.stored.size for file in plan.corpus.files})


def test_places_lie_everywhere_by_weight_and_inside_their_units(
    made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sample_places, "WHOLE_BYTES", 0)
    plan = planned(f"{made_up}/**/*", tmp_path / "table", "units.text_bytes=100kB")
    weighed = missing_bytes(plan)
    frames = [sample_frame(weighed, str(seed)) for seed in range(100)]
    places = [place for frame in frames for place in frame.places]
    assert all(0 <= place.at < 1 for place in places)
    total = sum(n_bytes + sample_places.UNIT_OVERHEAD for _, n_bytes in weighed)
    assert [frame.weight for frame in frames] == pytest.approx([total] * 100)
    drawn = Counter(place.extract.unit for place in places)
    for unit, n_bytes in weighed:
        expected = len(places) * (n_bytes + sample_places.UNIT_OVERHEAD) / total
        assert drawn[unit] == pytest.approx(expected, abs=4 * expected**0.5 + 1)


def test_a_text_of_megabytes_is_counted_by_its_beginning(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "book.txt").write_text("a proposal of numbers and traits. " * 6000)
    plan = planned(f"{tmp_path}/*.txt", tmp_path / "table")
    whole = take_sample(plan, tokenizer).total("tokens").value
    monkeypatch.setattr(sampling, "LONG_CHARACTERS", 50_000)
    assert take_sample(plan, tokenizer).total("tokens").value == pytest.approx(whole, rel=0.05)


def test_reading_ends_in_time_with_places_from_all_over(made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample_places, "WHOLE_BYTES", 0)
    plan = planned(f"{made_up}/**/*", tmp_path / "table", "units.text_bytes=20kB")
    places = sample_frame(missing_bytes(plan), "").places
    read = sample_reading.read_places(plan.storage, places, seconds=0)
    assert sample_reading.FIRST_PLACES <= len(read) < len(places) / 2
    assert {row["id"].partition("-")[0] for place in read for row in place.rows} >= {"a.jsonl", "b.jsonl"}


def test_rows_deep_in_a_large_row_group_are_stood_for_by_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    table = pq.read_table(CORPUS / "test.parquet", columns=["id", "text"])
    pq.write_table(table, tmp_path / "one.parquet", row_group_size=len(table))
    monkeypatch.setattr(sample_places, "WHOLE_BYTES", 0)
    plan = planned(tmp_path / "one.parquet", tmp_path / "table", "units.text_bytes=50kB")
    assert len(plan.units) > 2 * sample_places.NEAR_UNITS
    extracts = [place.extract.unit.slice for place in sample_frame(missing_bytes(plan), "").places]
    rows = max(slice_.row_range[1] - slice_.row_range[0] for slice_ in extracts)
    assert max(slice_.row_range[1] for slice_ in extracts) <= (sample_places.NEAR_UNITS + 1) * rows
