"""The isolated process gives the same logits, and survives what ends it."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from transformers import BigBirdForTokenClassification

from pipeline.inference.isolated_predictor import IsolatedPredictor
from pipeline.inference.predictor import Lengths, Predictor, TokenIds
from tests.checkpoint_folders import random_tokens, random_transformers_model, save_folder

LENGTHS = [70, 300, 64, 130, 20]
KILLER = 9  # no random token is


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_folder(random_transformers_model(), tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def isolated(checkpoint: Path) -> Iterator[IsolatedPredictor]:
    predictor = IsolatedPredictor(checkpoint, device="cpu", dtype="fp32", threads=1, outputs=3)
    yield predictor
    predictor.close()


@pytest.fixture
def deaths(killing: Callable[[str, str], Path]) -> Path:
    return killing("TOKENS", str(KILLER))


def pack(*killers: int) -> tuple[TokenIds, Lengths]:
    """Windows of LENGTHS; those numbered `killers` end with KILLER."""
    windows = [np.where(ids == KILLER, KILLER + 1, ids) for ids in random_tokens(LENGTHS)]
    for number in killers:
        windows[number][-1] = KILLER
    return np.concatenate(windows).astype(np.uint16), np.array(LENGTHS, np.int32)


def test_logits_are_the_predictors(checkpoint: Path, isolated: IsolatedPredictor) -> None:
    here = Predictor.load(checkpoint, device="cpu", dtype="fp32", threads=1)
    packs = [pack(), pack()]
    found = list(isolated.predict_all(packs))
    for expected, (logits_WL, killed_W) in zip(here.predict_all(packs), found, strict=True):
        assert logits_WL.tobytes() == expected.tobytes()
        assert not killed_W.any()


@pytest.mark.parametrize("killers", [[2], [0, 4]])
def test_the_windows_that_end_the_process_are_found(
    killers: list[int], checkpoint: Path, deaths: Path, isolated: IsolatedPredictor
) -> None:
    (found,) = isolated.predict_all([pack(*killers)])
    logits_WL, killed_W = found
    assert np.flatnonzero(killed_W).tolist() == killers
    assert np.isnan(logits_WL).all(1).tolist() == killed_W.tolist()
    survivors = [i for i in range(len(LENGTHS)) if i not in killers]
    expected = Predictor.load(checkpoint, device="cpu", dtype="fp32", threads=1).predict(*pack())
    # 1e-5: other numbers of rows are rounded otherwise
    np.testing.assert_allclose(logits_WL[survivors], expected[survivors], atol=1e-5)
    assert len(deaths.read_text().splitlines()) >= 2 * len(killers)


def test_a_head_on_tokens_has_a_row_for_each(tmp_path: Path, deaths: Path) -> None:
    model = random_transformers_model(model_class=BigBirdForTokenClassification)
    folder = save_folder(model, tmp_path / "checkpoint")
    here = Predictor.load(folder, device="cpu", dtype="fp32", threads=1)
    isolated = IsolatedPredictor(folder, device="cpu", dtype="fp32", threads=1, outputs=3, per_token=True)
    tokens, lengths = np.full(20, KILLER, np.uint16), np.array([20], np.int32)
    (whole, _), (nothing, killed_W) = isolated.predict_all([pack(), (tokens, lengths)])
    isolated.close()
    assert whole.tobytes() == here.predict(*pack()).tobytes()
    assert killed_W.tolist() == [True]
    assert nothing.shape == (20, 3)
    assert np.isnan(nothing).all()


def test_a_process_that_is_ended_from_outside_costs_nothing(isolated: IsolatedPredictor) -> None:
    (expected,) = isolated.predict_all([pack()])
    assert isolated._process._child is not None
    os.kill(isolated._process._child[0].pid, signal.SIGKILL)
    (found,) = isolated.predict_all([pack()])
    assert found[0].tobytes() == expected[0].tobytes()
    assert not found[1].any()


def test_errors_of_the_predictor_come_back(isolated: IsolatedPredictor) -> None:
    tokens, lengths = pack()
    with pytest.raises(ValueError, match="tokens has shape"):
        list(isolated.predict_all([(tokens[1:], lengths)]))
    (found,) = isolated.predict_all([pack()])
    assert np.isfinite(found[0]).all()
