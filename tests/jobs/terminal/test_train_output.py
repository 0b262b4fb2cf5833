import time

import pytest

from jobs.terminal.train_output import resumption


@pytest.mark.parametrize(
    ("seconds", "ago"),
    [(0, "0 s"), (-5, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"), (7_200, "2 h"), (200_000, "2 days")],
)
def test_an_age_is_said_in_its_largest_unit(seconds: float, ago: str):
    record = {"phase": "pretraining", "done": False, "steps": 1_200, "epoch": 3, "epochs": 9, "tokens": 5}
    assert resumption(record | {"saved_at": time.time() - seconds}) == (
        f"pretraining  going on from step 1,200 (epoch 3 of 9, 5 tokens), saved {ago} ago"
    )
