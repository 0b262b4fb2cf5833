import os
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BigBirdForSequenceClassification

from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.layout import Layout
from pipeline.bigbird.model_config import HeadConfig
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier, save, stored_tensors
from pipeline.errors import CheckpointError
from tests.bigbird.configs import HEAD, encoder_config
from tests.checkpoint_folders import (
    random_tokens,
    random_transformers_model,
    save_folder,
    transformers_logits,
)

WINDOWS = random_tokens([40, 800])
SHARD_BYTES = 50_000


def logits_of(classifier: Classifier) -> Tensor:
    layout = Layout.of([len(window) for window in WINDOWS], classifier.encoder_config)
    with torch.inference_mode():
        logits_WL: Tensor = classifier(layout.spread(torch.from_numpy(np.concatenate(WINDOWS))), layout)
    return logits_WL


def open_and_load(path: Path) -> Classifier:
    return load_classifier(CheckpointFolder.open(path), torch.float32)


@pytest.fixture(scope="module")
def model() -> Any:
    return random_transformers_model()


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    return save_folder(model, tmp_path / "folder")


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def as_bin(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_old_bin(folder: Path) -> None:
    torch.save(
        load_file(folder / "model.safetensors"),
        folder / "pytorch_model.bin",
        _use_new_zipfile_serialization=False,
    )
    (folder / "model.safetensors").unlink()


def as_training_loops_save(folder: Path) -> None:
    state = {"epoch": 3, "model_state_dict": load_file(folder / "model.safetensors")}
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def as_sharded_bin(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    for shard in folder.glob("*.safetensors"):
        torch.save(load_file(shard), shard.with_suffix(".bin"))
        shard.unlink()
    text = index.read_text().replace(".safetensors", ".bin")
    (folder / "pytorch_model.bin.index.json").write_text(text)
    index.unlink()


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({}, lambda folder: None),
        ({"max_shard_size": SHARD_BYTES}, lambda folder: None),
        ({}, as_bin),
        ({}, as_old_bin),
        ({}, as_training_loops_save),
        ({"max_shard_size": SHARD_BYTES}, as_sharded_bin),
    ],
    ids=["safetensors", "sharded safetensors", "bin", "bin before zip", "wrapped", "sharded bin"],
)
def test_every_form_of_weights_gives_transformers_logits(
    model: Any, tmp_path: Path, options: dict[str, Any], change: Callable[[Path], None]
) -> None:
    path = save_folder(model, tmp_path / "folder", **options)
    change(path)
    assert (len(CheckpointFolder.open(path).weight_files) > 1) == ("max_shard_size" in options)
    expected = [transformers_logits(model, window) for window in WINDOWS]
    assert np.abs(logits_of(open_and_load(path)).numpy() - expected).max() < 1e-4


def test_old_names_of_the_norms_are_known(folder: Path) -> None:
    expected = logits_of(open_and_load(folder))

    def to_old_names(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if ".LayerNorm." in name]:
            old = name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
            tensors[old] = tensors.pop(name)

    rewrite(folder, to_old_names)
    assert torch.equal(logits_of(open_and_load(folder)), expected)


def test_weights_of_half_precision_are_read(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({k: v.half() for k, v in tensors.items()}))
    classifier = open_and_load(folder)
    assert {parameter.dtype for parameter in classifier.parameters()} == {torch.float32}


def test_the_head_stays_float32(folder: Path) -> None:
    classifier = load_classifier(CheckpointFolder.open(folder), torch.bfloat16)
    assert classifier.encoder.embeddings.word.weight.dtype == torch.bfloat16
    assert classifier.head.get_parameter("out.weight").dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tensors: tensors.pop("bert.encoder.layer.1.attention.self.key.bias"),
            "missing: bert.encoder.layer.1.attention.self.key.bias; not expected: none",
        ),
        (
            lambda tensors: tensors.update({"bert.adapter.weight": torch.zeros(1)}),
            "missing: none; not expected: bert.adapter.weight",
        ),
        (
            lambda tensors: tensors.update({"classifier.out_proj.weight": torch.zeros(5, 64)}),
            r"classifier.out_proj.weight is torch.float32 of shape \[5, 64\]; expected floating "
            r"point of shape \[3, 64\]",
        ),
        (
            lambda tensors: tensors.update({"classifier.out_proj.bias": torch.zeros(3).int()}),
            "classifier.out_proj.bias is torch.int32",
        ),
    ],
    ids=["missing key", "surplus key", "wrong shape", "integers"],
)
def test_weights_of_another_model_are_refused(
    folder: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        open_and_load(folder)


def test_many_missing_keys_are_counted(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.clear())
    with pytest.raises(CheckpointError, match=r"missing: bert\.\S+ .* and \d+ more; not expected"):
        open_and_load(folder)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_a_truncated_safetensors_is_refused(folder: Path) -> None:
    cut(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model.safetensors: cannot be read as safetensors"):
        open_and_load(folder)


@pytest.mark.parametrize("form", [as_bin, as_old_bin], ids=["zip", "before zip"])
def test_a_truncated_bin_is_refused(folder: Path, form: Callable[[Path], None]) -> None:
    form(folder)
    cut(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin: cannot be read"):
        open_and_load(folder)


@pytest.mark.parametrize("content", [b"", b"weights", b"\x80\x02."], ids=["empty", "text", "pickle"])
def test_a_bin_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin: cannot be read"):
        open_and_load(folder)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x, 2))], ids=["torch", "plain"])
def test_a_pickle_with_code_is_refused_and_not_run(folder: Path, write: Callable[[Any, Path], None]) -> None:
    (folder / "model.safetensors").unlink()
    victim = folder / "was here"
    write({"bert.pooler.bias": Malicious(victim)}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read as a plain state dict"):
        open_and_load(folder)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([torch.zeros(1)], "holds list"),
        ({"optimizer": {"bert.pooler.bias": torch.zeros(1)}}, "'optimizer': dict"),
        ({"epoch": 3}, "'epoch': int"),
    ],
    ids=["list", "nested", "number"],
)
def test_a_pickle_that_is_no_state_dict_is_refused(folder: Path, content: object, found: str) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=f"{found}; expected a state dict"):
        open_and_load(folder)


@pytest.mark.parametrize(
    "changes",
    [{}, {"block_size": 16}, {"use_bias": False}, {"activation": "gelu_erf"}],
    ids=str,
)
def test_transformers_loads_what_we_save(tmp_path: Path, changes: dict[str, Any]) -> None:
    classifier = Classifier.fresh(encoder_config(**changes), HEAD, seed=0).eval()
    save(classifier, tmp_path)
    model, report = BigBirdForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.id2label == {0: "rook", 1: "jackdaw", 2: "crow"}
    expected = [transformers_logits(model.eval(), window) for window in WINDOWS]
    assert np.abs(logits_of(classifier).numpy() - expected).max() < 1e-4


def test_what_we_save_we_load(model: Any, folder: Path, tmp_path: Path) -> None:
    classifier = open_and_load(folder)
    save(classifier, tmp_path / "again")
    (tmp_path / "again" / "spiece.model").write_bytes(b"no model")
    again = open_and_load(tmp_path / "again")
    assert again.encoder_config == classifier.encoder_config
    assert again.head_config == classifier.head_config
    assert torch.equal(logits_of(again), logits_of(classifier))


@pytest.mark.parametrize(
    ("head", "names"),
    [
        (replace(HEAD, pooling="cls", head="linear"), {"classifier"}),
        (replace(HEAD, pooling="pooler", head="linear"), {"bert.pooler", "classifier"}),
        (replace(HEAD, pooling="attention", head="linear"), {"attention.out", "classifier"}),
        (
            replace(HEAD, pooling="attention", head="dense", attention_size=8),
            {"attention.dense", "attention.out", "fc", "classifier"},
        ),
        (replace(HEAD, pooling="max", head="bigbird"), {"classifier.dense", "classifier.out_proj"}),
        (
            HeadConfig("tokens", "question_answering", "single_label", ("start", "end"), sep_token_id=66),
            {
                "qa_classifier.intermediate.dense",
                "qa_classifier.output.dense",
                "qa_classifier.output.LayerNorm",
                "qa_classifier.qa_outputs",
            },
        ),
        (
            HeadConfig("tokens", "masked_lm", "single_label", ()),
            {"cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions"},
        ),
        (HeadConfig("mean", "none", "regression", ()), set()),
    ],
    ids=lambda value: f"{value.pooling} {value.head}" if isinstance(value, HeadConfig) else "",
)
def test_what_the_parts_beside_the_encoder_are_called_stays(head: HeadConfig, names: set[str]) -> None:
    """With other names no folder that anybody has can be loaded."""
    stored = stored_tensors(Classifier(encoder_config(), head))
    encoder = ("bert.embeddings.", "bert.encoder.")
    assert {name.rpartition(".")[0] for name in stored if not name.startswith(encoder)} == names


def test_who_may_read_one_file_of_a_folder_may_read_all(folder: Path, tmp_path: Path) -> None:
    save(open_and_load(folder), tmp_path / "saved")
    assert len({path.stat().st_mode for path in (tmp_path / "saved").iterdir()}) == 1


def test_weights_may_be_stored_in_half_the_space(folder: Path, tmp_path: Path) -> None:
    classifier = open_and_load(folder)
    save(classifier, tmp_path / "half", dtype=torch.bfloat16)
    tensors = load_file(tmp_path / "half" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert classifier.head.get_parameter("out.weight").dtype == torch.float32  # the model itself is as it was


def test_loading_warns_of_nothing(folder: Path) -> None:
    as_bin(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_and_load(folder)
