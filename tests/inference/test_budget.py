"""What a pack needs, as torch counts its allocations: exact, and the same on every run."""

import json
from pathlib import Path

import numpy as np
import pytest
from torch.profiler import ProfilerActivity, profile

from pipeline.bigbird.classifier import Classifier
from pipeline.inference.budget import (
    DEFAULT_TOKENS,
    ELEMENTS_PER_TOKEN,
    default_budget,
    largest_pack,
)
from pipeline.inference.predictor import Predictor
from tests.bigbird.configs import HEAD, encoder_config

HIDDEN, FLOAT32 = 128, 4
CONFIG = encoder_config(hidden_size=HIDDEN, heads=4, intermediate_size=4 * HIDDEN)


def test_the_default_holds_two_full_windows() -> None:
    assert default_budget("cpu") == DEFAULT_TOKENS["cpu"] >= 2 * CONFIG.max_positions
    assert default_budget("cuda") == DEFAULT_TOKENS["cuda"] >= 2 * CONFIG.max_positions


def test_the_largest_pack_needs_a_quarter_of_the_memory() -> None:
    assert largest_pack(64 * 2**30, CONFIG, FLOAT32) == 16 * 2**30 // (16 * HIDDEN * FLOAT32)
    assert largest_pack(64 * 2**30, CONFIG, 2) == 2 * largest_pack(64 * 2**30, CONFIG, FLOAT32)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(Classifier.fresh(CONFIG, HEAD, seed=0), "cpu")


def peak(predictor: Predictor, tokens: int, window: int, trace: Path) -> int:
    """The most bytes that torch holds at once for one pack, beside the weights."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        # in this thread: the profiler sees no other
        predictor._start(np.arange(tokens) % 500, np.full(tokens // window, window))
    profiler.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    allocations = [event for event in events if event["name"] == "[memory]"]
    allocations.sort(key=lambda event: event["ts"])
    assert allocations
    return int(np.cumsum([event["args"]["Bytes"] for event in allocations]).max())


@pytest.mark.parametrize("window", [512, 1024, 4096])
def test_memory_grows_linearly(predictor: Predictor, tmp_path: Path, window: int) -> None:
    tokens = 8192
    once, twice, four_times = (peak(predictor, n * tokens, window, tmp_path / "trace.json") for n in (1, 2, 4))
    # Twice as many more tokens need twice as much more: 2 if memory is a + b n, 4 if it is quadratic. Measured 2.000.
    assert 1.9 < (four_times - twice) / (twice - once) < 2.1
    per_token = (four_times - twice) / (2 * tokens)
    # Measured 8.1 times the hidden size: what malloc keeps, which `largest_pack` allows for, is not counted here.
    assert per_token < ELEMENTS_PER_TOKEN * HIDDEN * FLOAT32


def test_memory_of_the_default_budget_does_not_grow_with_the_window(predictor: Predictor, tmp_path: Path) -> None:
    """One long window's keys are gathered at once; that must not need more than the pack itself."""
    short, long = (peak(predictor, default_budget("cpu"), window, tmp_path / "trace.json") for window in (512, 4096))
    assert long < 2 * short  # measured 1.4
