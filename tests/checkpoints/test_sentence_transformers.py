"""Folders as sentence-transformers writes them; what it computes is written out, for the tests do without it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BigBirdModel

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.importing import ImportSource, convert
from pipeline.checkpoints.names import load_classifier
from pipeline.errors import CheckpointError
from pipeline.inference.predictor import Predictor
from tests.checkpoint_folders import (
    random_tokens,
    random_transformers_model,
    save_folder,
    transformers_hidden,
)

WINDOWS = random_tokens([40, 800])
MODELS = "sentence_transformers.models."
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": MODELS + "Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": MODELS + "Pooling"}
NORMALIZE = {"idx": 2, "name": "2", "path": "2_Normalize", "type": MODELS + "Normalize"}
DENSE = {"idx": 2, "name": "2", "path": "2_Dense", "type": MODELS + "Dense"}
MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def made(path: Path, modes: tuple[str, ...], *more: object, **files: dict[str, Any]) -> Any:
    model = random_transformers_model(model_class=BigBirdModel)
    save_folder(model, path)
    (path / "1_Pooling").mkdir()
    config = {f"pooling_mode_{mode}": mode in modes for mode in MODES}
    (path / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 64} | config))
    (path / "modules.json").write_text(json.dumps([TRANSFORMER, POOLING, *more]))
    for name, values in files.items():
        (path / f"{name}.json").write_text(json.dumps(values))
    return model


@pytest.mark.parametrize(
    ("mode", "pooled"),
    [
        ("cls_token", lambda hidden: hidden[0]),
        ("mean_tokens", lambda hidden: hidden.mean(0)),
        ("max_tokens", lambda hidden: hidden.max(0).values),
    ],
)
def test_the_pooling_is_that_of_the_folder(tmp_path: Path, mode: str, pooled: Any) -> None:
    model = made(tmp_path / "a", (mode,), NORMALIZE)
    predictor = Predictor(load_classifier(CheckpointFolder.open(tmp_path / "a"), torch.float32), "cpu")
    found = predictor.predict(np.concatenate(WINDOWS), np.array(list(map(len, WINDOWS))))
    expected = [pooled(transformers_hidden(model, window)).numpy() for window in WINDOWS]
    assert np.abs(found - np.stack(expected)).max() < 1e-4


def test_an_import_keeps_the_pooling(tmp_path: Path) -> None:
    made(tmp_path / "a", ("max_tokens",))
    _, folder = convert(ImportSource(tmp_path / "a"), tmp_path / "imported")
    assert (folder.head.task, folder.head.pooling) == ("embedding", "max")


def test_rookery_json_decides(tmp_path: Path) -> None:
    made(tmp_path / "a", ("mean_sqrt_len_tokens",), rookery={"pooling": "max"})
    assert CheckpointFolder.open(tmp_path / "a").head.pooling == "max"


@pytest.mark.parametrize(
    ("modes", "more", "files", "words"),
    [
        (("mean_sqrt_len_tokens",), (), {}, "the pooling is mean_sqrt_len_tokens; expected one of cls, mean and max"),
        (("cls_token", "mean_tokens"), (), {}, "the pooling is cls_token and mean_tokens; expected one"),
        (("mean_tokens",), (DENSE,), {}, "2.type is '.*Dense'; expected one of Transformer, Pooling, Normalize"),
        (
            ("mean_tokens",),
            (),
            {"sentence_bert_config": {"do_lower_case": True}},
            "do_lower_case is True; expected none",
        ),
        (
            ("mean_tokens",),
            (),
            {"config_sentence_transformers": {"default_prompt_name": "query"}},
            "default_prompt_name is 'query'; expected none",
        ),
    ],
    ids=["another pooling", "two poolings", "a dense layer", "lower case", "a prompt"],
)
def test_what_an_embedding_of_ours_has_no_part_for_is_refused(
    tmp_path: Path, modes: tuple[str, ...], more: Any, files: dict[str, Any], words: str
) -> None:
    made(tmp_path / "a", modes, *more, **files)
    with pytest.raises(CheckpointError, match=words):
        CheckpointFolder.open(tmp_path / "a")
