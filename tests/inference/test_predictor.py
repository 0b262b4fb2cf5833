import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings, strategies as st

from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.model_config import HeadConfig
from pipeline.errors import ConfigError
from pipeline.inference.dtype import INT8_FLAGS, cpu_has
from pipeline.inference.predictor import Predictor
from pipeline.terms import Dtype, PoolingKind
from tests.bigbird.configs import encoder_config
from tests.checkpoint_folders import (
    random_tokens,
    random_transformers_model,
    save_folder,
    transformers_logits,
)

LENGTHS = [1, 300, 64, 705, 900, 1500, 705]
WINDOWS = random_tokens(LENGTHS)


@pytest.fixture(scope="module")
def model() -> Any:
    return random_transformers_model()


@pytest.fixture(scope="module")
def predictor(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    path = save_folder(model, tmp_path_factory.mktemp("checkpoint"))
    return Predictor.load(path, device="cpu", dtype="fp32", threads=None)


@pytest.fixture(scope="module")
def int8_predictor(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    path = save_folder(model, tmp_path_factory.mktemp("checkpoint"))
    return Predictor.load(path, device="cpu", dtype="int8", threads=None)


@pytest.fixture
def own_predictor(model: Any, tmp_path: Path) -> Predictor:
    """One that a test may change."""
    return Predictor.load(save_folder(model, tmp_path), device="cpu", dtype="fp32", threads=None)


Pack = tuple[npt.NDArray[np.uint16], npt.NDArray[np.int32]]


def pack(indices: list[int]) -> Pack:
    tokens = np.concatenate([WINDOWS[i] for i in indices]).astype(np.uint16)
    return tokens, np.array([LENGTHS[i] for i in indices], dtype=np.int32)


def predict(predictor: Predictor, indices: list[int]) -> npt.NDArray[np.float32]:
    return predictor.predict(*pack(indices))


def test_logits_are_those_of_transformers(model: Any, predictor: Predictor) -> None:
    logits_WL = predict(predictor, list(range(len(LENGTHS))))
    expected = np.stack([transformers_logits(model, window) for window in WINDOWS])
    assert logits_WL.dtype == np.float32
    # Worst measured 3.3e-6, of logits up to 3.6.
    assert np.abs(logits_WL - expected).max() < 1e-4


@settings(max_examples=8, deadline=None)
@given(indices=st.lists(st.integers(0, len(LENGTHS) - 1), min_size=1, max_size=6))
def test_company_and_order_do_not_change_logits(predictor: Predictor, indices: list[int]) -> None:
    together = predict(predictor, indices)
    alone = np.concatenate([predict(predictor, [i]) for i in indices])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("pooling", ["cls", "pooler", "mean", "max", "attention", "tokens"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_company_changes_no_bit_of_an_encoder_of_usual_width(dtype: Dtype, pooling: PoolingKind) -> None:
    """What a library makes of a sum hangs on the sizes: oneDNN's bfloat16 differed from 768 inputs on."""
    if dtype == "int8" and not cpu_has(INT8_FLAGS):
        pytest.skip(f"this CPU has none of {sorted(INT8_FLAGS)}")
    encoder = encoder_config(hidden_size=768, heads=12, intermediate_size=3072)
    head = HeadConfig(pooling=pooling, head="linear", problem_type="single_label", labels=("a", "b", "c"))
    classifier = Classifier.fresh(encoder, head, seed=0)
    if dtype != "fp32":
        classifier.encoder.to(torch.bfloat16)
    predictor = Predictor(classifier, "cpu", int8=dtype == "int8")
    indices = [3, 0, 1, 2, 4, 3]
    alone = np.concatenate([predict(predictor, [i]) for i in indices])
    assert np.array_equal(predict(predictor, indices), alone)


def test_the_same_pack_gives_the_same_bits(predictor: Predictor) -> None:
    assert np.array_equal(predict(predictor, [0, 3, 4]), predict(predictor, [0, 3, 4]))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_packs_come_back_one_by_one_in_order(model: Any, tmp_path: Path, threads: int) -> None:
    folder = save_folder(model, tmp_path)
    predictor = Predictor.load(folder, device="cpu", dtype="fp32", threads=threads)
    packs = [[3, 0], [1], [4, 5, 2], [0], [6, 1]]
    asked = []

    def ask() -> Iterator[Pack]:
        for indices in packs:
            asked.append(indices)
            yield pack(indices)

    for number, logits_WL in enumerate(predictor.predict_all(ask())):
        assert np.array_equal(logits_WL, predict(predictor, packs[number]))
        # those that are computed, and the next one: more would lie in memory for nothing
        assert len(asked) <= number + 1 + threads
    assert asked == packs


def test_the_number_of_threads_changes_no_bit(model: Any, tmp_path: Path) -> None:
    folder = save_folder(model, tmp_path)
    packs = [pack([3, 0, 4]), pack([1]), pack([5, 2]), pack([6, 6, 6])]
    found = []
    for threads in (1, 2, 4):
        predictor = Predictor.load(folder, device="cpu", dtype="fp32", threads=threads)
        found.append([logits_WL.tobytes() for logits_WL in predictor.predict_all(packs)])
    assert found[0] == found[1] == found[2]


def test_a_pack_that_fails_is_told_and_the_next_call_goes_on(predictor: Predictor) -> None:
    tokens, lengths = pack([1])
    with pytest.raises(ValueError, match="tokens has shape"):
        list(predictor.predict_all([(tokens, lengths), (tokens[1:], lengths), (tokens, lengths)]))
    assert len(predictor.predict(tokens, lengths)) == 1


def test_no_packs_give_no_logits(predictor: Predictor) -> None:
    assert list(predictor.predict_all([])) == []


@pytest.mark.parametrize("budget", [4175, 2000, 1500, 705, 1])
def test_a_pack_above_the_budget_is_computed_in_parts(
    own_predictor: Predictor, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    indices = list(range(len(LENGTHS)))
    expected = predict(own_predictor, indices)
    computed = watch(monkeypatch)
    own_predictor.token_budget = budget
    logits_WL = predict(own_predictor, indices)
    assert sum(len(lengths) for lengths in computed) == len(LENGTHS)
    assert all(sum(lengths) <= budget or len(lengths) == 1 for lengths in computed)
    assert np.concatenate(computed).tolist() == LENGTHS
    # As for company and order. Worst measured 8.3e-7.
    assert np.abs(logits_WL - expected).max() < 1e-5
    assert own_predictor.token_budget == budget


def test_halves_of_equal_windows_are_equal(own_predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = watch(monkeypatch)
    own_predictor.token_budget = 2 * 300
    predict(own_predictor, [1, 1, 1, 1])
    assert computed == [[300, 300], [300, 300]]


def watch(monkeypatch: pytest.MonkeyPatch, *, memory: int = 10**9) -> list[list[int]]:
    """The lengths of each pack computed from now on; one of more than `memory` tokens runs out of memory."""
    start, computed = Predictor._start_whole, []

    def start_whole(self: Predictor, tokens: Any, lengths: Any) -> Any:
        if len(tokens) > memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        computed.append(lengths.tolist())
        return start(self, tokens, lengths)

    monkeypatch.setattr(Predictor, "_start_whole", start_whole)
    return computed


@pytest.mark.parametrize(
    ("memory", "budgets"),
    [(3000, [2087]), (2205, [2087]), (1500, [2087, 985])],
)
def test_out_of_memory_a_pack_is_halved_until_it_fits(
    own_predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    memory: int,
    budgets: list[int],
) -> None:
    indices = list(range(len(LENGTHS)))
    expected = predict(own_predictor, indices)
    watch(monkeypatch, memory=memory)
    first, *later = list(own_predictor.predict_all([pack(indices)] * 3))
    assert np.abs(first - expected).max() < 1e-5  # as above
    assert [np.abs(logits_WL - expected).max() < 1e-5 for logits_WL in later] == [True, True]
    told = [message.rpartition(" ")[2] for message in caplog.messages]
    assert told == [str(budget) for budget in budgets]  # later packs do not run out again
    assert own_predictor.token_budget == budgets[-1]


def test_running_out_of_memory_is_told_with_both_sizes(
    own_predictor: Predictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch(monkeypatch, memory=3000)
    predict(own_predictor, list(range(len(LENGTHS))))
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (
            logging.WARNING,
            "cpu ran out of memory on a pack of 4175 tokens: going on with packs of at most 2087",
        )
    ]


def test_a_window_that_does_not_fit_is_a_matter_of_the_job_file(
    own_predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(monkeypatch, memory=1000)
    with pytest.raises(ConfigError, match=r"window of 1500 tokens .* set text\.max_tokens lower"):
        predict(own_predictor, [0, 5, 3])


def test_another_error_passes_through(
    own_predictor: Predictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Predictor, "_start_whole", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        predict(own_predictor, [0, 1])
    assert not caplog.messages


OUT_OF_MEMORY = """
import resource
import numpy as np, torch
from pipeline.bigbird.classifier import Classifier
from pipeline.inference.predictor import Predictor
from tests.bigbird.configs import HEAD, encoder_config

torch.set_num_threads(1)
config = encoder_config(hidden_size=256, heads=4, intermediate_size=1024)
predictor = Predictor(Classifier.fresh(config, HEAD, seed=0), "cpu")
predictor.token_budget = 10**9
pack = np.arange(32_768) % 500, np.full(64, 512)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 150 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
logits_WL = predictor.predict(*pack)
budget, predictor.token_budget = predictor.token_budget, 10**9
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(budget, np.abs(predictor.predict(*pack) - logits_WL).max())
"""


def test_a_cpu_that_runs_out_of_memory() -> None:
    """Truly: the pack needs 270 MB (8 * 256 float32 for each token), and the process gets 150 MiB."""
    run = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY],
        text=True,
        capture_output=True,
        check=True,
    )
    budget, difference = run.stdout.split()
    assert 512 <= int(budget) <= 16_384
    assert float(difference) < 1e-5  # as above


needs_int8 = pytest.mark.skipif(
    not cpu_has(INT8_FLAGS), reason=f"this CPU has none of {sorted(INT8_FLAGS)}: sums may overflow"
)


@needs_int8
def test_int8_is_near(tmp_path: Path) -> None:
    # Weights of ordinary size: large ones make a model that no format of 8 bits could follow.
    path = save_folder(random_transformers_model(std=0.1), tmp_path)
    fp32, int8 = (Predictor.load(path, device="cpu", dtype=dtype, threads=1) for dtype in ("fp32", "int8"))
    indices = list(range(len(LENGTHS)))
    logits = predict(int8, indices)
    assert logits.dtype == np.float32
    difference = np.abs(logits - predict(fp32, indices))
    # Each product is off by 1 % (test_linear.py), and the rest is bfloat16, alone 7.7e-3. Measured 1.1e-2, of logits up
    # to 0.5.
    assert difference.max() < 0.04


@needs_int8
@settings(max_examples=8, deadline=None)
@given(indices=st.lists(st.integers(0, len(LENGTHS) - 1), min_size=1, max_size=6))
def test_company_and_order_do_not_change_logits_of_int8(int8_predictor: Predictor, indices: list[int]) -> None:
    together = predict(int8_predictor, indices)
    alone = np.concatenate([predict(int8_predictor, [i]) for i in indices])
    assert np.array_equal(together, alone)


def test_bf16_is_near(model: Any, predictor: Predictor, tmp_path: Path) -> None:
    path = save_folder(model, tmp_path)
    bf16 = Predictor.load(path, device="cpu", dtype="bf16", threads=1)
    logits = predict(bf16, [1, 4])
    assert logits.dtype == np.float32
    assert np.abs(logits - predict(predictor, [1, 4])).max() < 0.2  # measured 0.058, of logits up to 3.6


def test_logits_that_are_not_finite_are_not_hidden(model: Any, tmp_path: Path) -> None:
    path = save_folder(model, tmp_path)
    predictor = Predictor.load(path, device="cpu", dtype="fp32", threads=None)
    predictor.classifier.encoder.embeddings.word.weight.data[7] = np.nan
    tokens, lengths = np.array([5, 6, 7, 8, 5, 6]), np.array([2, 2, 2])
    finite = np.isfinite(predictor.predict(tokens, lengths)).all(1)
    assert finite.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("tokens", "lengths", "message"),
    [
        ([], [], "lengths is .* expected one whole number"),
        ([1, 2], [2, 0], "lengths go from 0 to 2"),
        ([1, 2], [3], r"tokens has shape \(2,\); expected \(3,\)"),
        ([[1, 2]], [2], r"tokens has shape \(1, 2\); expected \(2,\)"),
        ([1, 500], [2], "tokens go from 1 to 500; expected ids from 0 to 499"),
        ([1, -1], [2], "tokens go from -1 to 1; expected ids from 0 to 499"),
    ],
    ids=["no window", "empty window", "too few", "two axes", "unknown id", "negative id"],
)
def test_packs_that_cannot_be_are_refused(
    predictor: Predictor, tokens: list[int], lengths: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.predict(np.array(tokens, dtype=int), np.array(lengths, dtype=int))
