"""What one reading for two checkpoints saves, on a small corpus: the command's own measure of it."""

from pathlib import Path

import numpy as np

from jobs.measure.several import WayCost, reading_cost, twin, way_table
from jobs.sample import CHECKPOINT
from pipeline.config.label import parse_job
from pipeline.planning.plan import plans_of
from pipeline.planning.survey import make_surveys
from tests.several import lines


def test_reading_and_tokenizing_are_paid_once(tmp_path: Path):
    words = np.random.default_rng(0).choice(["a", "proposal", "of", "numbers", "and", "traits"], (40, 4000))
    (tmp_path / "corpus.jsonl").write_bytes(lines((f"{n}", " ".join(row)) for n, row in enumerate(words)))
    jobs = [
        parse_job("", [f"corpus.uris={tmp_path}/corpus.jsonl", f"checkpoint.uri={uri}", f"table.uri={tmp_path}/{name}"])
        for name, uri in (("one", CHECKPOINT), ("two", twin(tmp_path / "twin")))
    ]
    plans = plans_of(make_surveys(jobs))
    reading_cost(plans)
    first, second, both = reading_cost(plans[:1]), reading_cost(plans[1:]), reading_cost(plans)
    size = (tmp_path / "corpus.jsonl").stat().st_size
    assert size <= both.bytes < 1.2 * size <= 1.2 * first.bytes
    assert 0 < both.tokenizing < 0.8 * (first.tokenizing + second.tokenizing)
    table = way_table({"two runs": [WayCost(2, *first), WayCost(4, *first), WayCost(9, *first)]}).splitlines()
    assert table[2].startswith("| two runs | 4.00 | ")
