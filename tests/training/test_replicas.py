"""Threads with a pack each make the step that one thread makes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.training.replicas import started
from tests.training.corpora import job, train, weights, write


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "birds.jsonl", 24)


def trained(corpus: Path, folder: Path, threads: int, **training: Any) -> dict[str, torch.Tensor]:
    made = job(
        corpus,
        folder,
        training={"epochs": 1, "learning_rate": 1e-3} | training,
        compute={"num_cpus": threads, "token_budget": 128},
        pretraining={"corpus": {"uris": str(corpus)}, "epochs": 1},
    )
    train(made)
    return weights(folder)


def test_threads_make_the_steps_of_one(corpus: Path, tmp_path: Path) -> None:
    one = trained(corpus, tmp_path / "one", 1)
    three = trained(corpus, tmp_path / "three", 3)
    # Float32 sums in another order. Worst measured 6e-8, of weights that 1e-3 is added to at a step.
    worst = max(float((one[name] - three[name]).abs().max()) for name in one)
    assert worst < 1e-5


def test_dropout_repeats_with_several_threads(corpus: Path, tmp_path: Path) -> None:
    first, second = (trained(corpus, tmp_path / name, 3, dropout=0.2, hidden_tokens=0.1) for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("cores", "packs", "count", "each"), [(2, 4, 2, 1), (8, 3, 3, 2), (1, 9, 1, 1), (4, 1, 1, 4)])
def test_cores_that_have_no_pack_help_the_others(cores: int, packs: int, count: int, each: int) -> None:
    before = torch.get_num_threads()
    try:
        with started(cores, packs) as threads:
            assert threads.count == count
            assert threads.each(lambda _: torch.get_num_threads()) == [each] * count
    finally:
        torch.set_num_threads(before)


def test_what_a_thread_raises_is_raised() -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise KeyError(number)

    with started(2, 2) as threads, pytest.raises(KeyError):
        threads.each(fail)
