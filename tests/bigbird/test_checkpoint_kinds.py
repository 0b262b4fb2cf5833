"""Kinds of checkpoint folders and weights as they are found, a line each: what comes of them.

A folder gives transformers' logits of each window alone, or is refused with words that name what is wrong. Most of what
is refused would have been scored, wrongly and without a word, or have ended in an error that didn't say what to do.
"""

import argparse
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.names import load_classifier
from pipeline.errors import CheckpointError
from pipeline.inference.predictor import Predictor
from tests.checkpoint_folders import (
    random_tokens,
    random_transformers_model,
    save_folder,
    transformers_logits,
)

WINDOWS = random_tokens([40, 704, 705, 1000])
ELEVEN = {str(number): f"l{number}" for number in range(11)}
Make = Callable[[Path], Any]


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def saved(**config: Any) -> Make:
    """transformers' folder of a model with that configuration."""

    def make(path: Path) -> Any:
        model = random_transformers_model(**config)
        save_folder(model, path)
        return model

    return make


def configured(**values: Any) -> Make:
    """The same, with keys of config.json changed afterwards, which are None to be removed."""

    def make(path: Path) -> Any:
        model = saved()(path)
        config = json.loads((path / "config.json").read_text()) | values
        kept = {key: value for key, value in config.items() if value is not None}
        (path / "config.json").write_text(json.dumps(kept))
        return model

    return make


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Make:
    """The same, with tensors of model.safetensors changed."""

    def make(path: Path) -> Any:
        model = saved()(path)
        state = load_file(path / "model.safetensors")
        change(state)
        save_file(state, path / "model.safetensors")
        return model

    return make


def one_tensor(change: Callable[[Tensor], Tensor], name: str = "classifier.dense.weight") -> Make:
    return tensors(lambda state: state.update({name: change(state[name]).contiguous()}))


def pickled(change: Callable[[dict[str, Tensor], Path], object], **options: Any) -> Make:
    """The same, with pytorch_model.bin instead of model.safetensors."""

    def make(path: Path) -> Any:
        model = saved()(path)
        state = load_file(path / "model.safetensors")
        torch.save(change(state, path), path / "pytorch_model.bin", **options)
        (path / "model.safetensors").unlink()
        return model

    return make


def beside(change: Callable[[dict[str, Tensor], Path], object]) -> Make:
    """The same, with further files beside."""

    def make(path: Path) -> Any:
        model = saved()(path)
        change(load_file(path / "model.safetensors"), path)
        return model

    return make


def with_one(value: float) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.index_put((torch.tensor(0), torch.tensor(1)), torch.tensor(value))


def as_16_bits(dtype: torch.dtype) -> Make:
    def make(path: Path) -> Any:
        model = random_transformers_model().to(dtype)
        save_folder(model, path)
        return model.float()

    return make


def sharded(path: Path) -> Any:
    model = random_transformers_model()
    save_folder(model, path, max_shard_size=50_000)
    return model


def without_a_shard(path: Path) -> Any:
    sharded(path)
    sorted(path.glob("*.safetensors"))[1].unlink()


def strided(state: dict[str, Tensor], _: Path) -> dict[str, Tensor]:
    """Not contiguous, and two tensors of one storage."""
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    state[name] = state[name].t().contiguous().t()
    both = torch.cat([state["classifier.dense.bias"], state["bert.pooler.bias"]])
    state["classifier.dense.bias"], state["bert.pooler.bias"] = both[:64], both[64:]
    return state


def trained(state: dict[str, Tensor], path: Path) -> None:
    """What transformers' Trainer puts into checkpoint-500; a pickle of objects is among it."""
    optimizer = {"state": {0: {"step": torch.tensor(5.0), "exp_avg": torch.zeros(3)}}}
    torch.save(optimizer, path / "optimizer.pt")
    torch.save({"last_epoch": 500}, path / "scheduler.pt")
    torch.save({"cpu": torch.zeros(9, dtype=torch.uint8)}, path / "rng_state.pth")
    (path / "trainer_state.json").write_text('{"global_step": 500}')
    (path / "training_args.bin").write_bytes(pickle.dumps(Trap(path / "unpickled")))


def loop(key: str) -> Callable[[dict[str, Tensor], Path], object]:
    """What training loops save, the weights under `key`."""
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    return lambda state, _: {"epoch": 3, "optimizer": optimizer, key: state, "best": 0.9}


def second_bin(change: Callable[[Tensor], Tensor]) -> Make:
    def write(state: dict[str, Tensor], path: Path) -> None:
        name = "classifier.dense.weight"
        torch.save(state | {name: change(state[name])}, path / "pytorch_model.bin")

    return beside(write)


def cut(path: Path) -> Any:
    saved()(path)
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[:-1000])


def writes(name: str, content: object) -> Make:
    return beside(lambda _, path: (path / name).write_text(json.dumps(content)))


RIGHT: dict[str, Make] = {
    "full attention in long windows": saved(attention_type="original_full"),
    "gelu of erf": saved(hidden_act="gelu"),
    "relu": saved(hidden_act="relu"),
    "gelu_fast": saved(hidden_act="gelu_fast"),
    "rescaled embeddings": saved(rescale_embeddings=True),
    "no bias in query, key and value": saved(use_bias=False),
    "blocks of 32, two random ones": saved(block_size=32, num_random_blocks=2),
    "blocks of 16, one random one": saved(block_size=16, num_random_blocks=1),
    "another norm epsilon": saved(layer_norm_eps=1e-3),
    "position_embedding_type, which transformers ignores": saved(position_embedding_type="relative_key"),
    "dropouts and other keys of training": saved(
        classifier_dropout=0.5, attention_probs_dropout_prob=0.4, use_cache=False
    ),
    "fewer positions": saved(max_position_embeddings=1024),
    "more types": saved(type_vocab_size=5),
    "not tied": saved(tie_word_embeddings=False),
    "ten labels and more": saved(id2label={int(k): v for k, v in ELEVEN.items()}),
    "label2id of names that id2label hasn't": configured(label2id={"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}),
    "problem_type is absent": configured(problem_type=None),
    "another torch_dtype than the file's": configured(dtype="bfloat16", torch_dtype="float16"),
    "float16": as_16_bits(torch.float16),
    "bfloat16": as_16_bits(torch.bfloat16),
    "shards": sharded,
    "no pooler": tensors(lambda state: [state.pop(f"bert.pooler.{kind}") for kind in ("weight", "bias")]),
    "buffers of older versions": tensors(
        lambda state: state.update({"bert.embeddings.position_ids": torch.arange(4096)[None]})
    ),
    "bin": pickled(lambda state, _: state),
    "bin of torch before 1.6": pickled(lambda state, _: state, _use_new_zipfile_serialization=False),
    "bin with strides and shared storage": pickled(strided),
    "bin of a training loop: model": pickled(loop("model")),
    "bin of a training loop: net": pickled(loop("net")),
    "bin of a training loop: ema": pickled(loop("ema")),
    "bin of a training loop, nested": pickled(lambda state, path: {"state": loop("weights")(state, path)}),
    "bin beside safetensors, the same": second_bin(lambda tensor: tensor),
    "bin beside safetensors, the same in float64": second_bin(lambda tensor: tensor.double()),
    "a Trainer's checkpoint-500": beside(trained),
    "files of TensorFlow and Flax beside": beside(
        lambda _, path: [(path / name).write_bytes(b"x") for name in ("tf_model.h5", "flax_model.msgpack")]
    ),
}
REFUSED: dict[str, tuple[Make, str]] = {
    "bin beside safetensors, other values": (
        second_bin(lambda tensor: tensor + 1e-3),
        r"model.safetensors and pytorch_model.bin disagree: classifier.dense.weight differs",
    ),
    "bin beside safetensors, another shape": (
        second_bin(lambda tensor: tensor[:3]),
        r"model.safetensors and pytorch_model.bin disagree: classifier.dense.weight",
    ),
    "a shard is missing": (without_a_shard, "model-00002-of-.* is missing; found"),
    "cut off": (cut, "cannot be read as safetensors .*; fetch the file again"),
    "NaN": (one_tensor(with_one(float("nan"))), "classifier.dense.weight holds numbers that are not finite"),
    "infinity": (one_tensor(with_one(float("inf"))), "classifier.dense.weight holds numbers that are not finite"),
    "int8": (
        one_tensor(lambda tensor: tensor.to(torch.int8)),
        "is torch.int8 .*; expected floating point of shape .*, not quantized",
    ),
    "fp8": (
        one_tensor(lambda tensor: tensor.to(torch.float8_e4m3fn)),
        "is torch.float8_e4m3fn .*; expected .*, not quantized",
    ),
    "GPTQ": (
        tensors(
            lambda state: state.update(
                {"bert.encoder.layer.0.intermediate.dense.qweight": torch.zeros(8, 12, dtype=torch.int32)}
            )
        ),
        "not expected: bert.encoder.layer.0.intermediate.dense.qweight",
    ),
    "quantization_config": (
        configured(quantization_config={"quant_method": "bitsandbytes"}),
        "quantization_config is .*; expected none: quantized weights",
    ),
    "code that comes with it": (
        configured(auto_map={"AutoModelForSequenceClassification": "modeling.Mine"}),
        "auto_map is .*; expected none: code that comes with",
    ),
    "num_labels against id2label": (configured(num_labels=2), "num_labels is 2; expected 3, as many as id2label has"),
    "label2id against id2label": (
        configured(label2id={"rook": 1, "jackdaw": 0, "crow": 2}),
        "label2id is .*; expected the reverse of id2label, which has 'rook'",
    ),
    "id2label with a gap": (
        configured(id2label={"0": "a", "2": "b"}),
        "id2label is .*; expected an object with one label under each",
    ),
    "id2label against the weights": (
        configured(id2label={"0": "a", "1": "b"}, label2id=None),
        r"classifier.out_proj.\w+ is .* of shape \[3.*; expected .* of shape \[2",
    ),
    "unknown problem_type": (configured(problem_type="multiclass"), "problem_type is 'multiclass'; expected one of"),
    "unknown activation": (configured(hidden_act="silu"), "hidden_act is 'silu'; expected one of"),
    "fewer words than the weights": (
        configured(vocab_size=499),
        r"word_embeddings.weight is .* of shape \[500, 64\]; expected .*\[499, 64\]",
    ),
    "more positions than the weights": (
        configured(max_position_embeddings=8192),
        r"position_embeddings.weight is .*\[4096, 64\]; expected .*\[8192, 64\]",
    ),
    "heads that were pruned": (
        one_tensor(lambda tensor: tensor[:32], "bert.encoder.layer.0.attention.self.query.weight"),
        r"query.weight is .* of shape \[32, 64\]",
    ),
    "two models": (
        pickled(lambda state, _: {"model": state, "ema": state, "step": 9}),
        "holds several models' weights, under ema, model; expected",
    ),
    "settings of a run beside the weights": (
        pickled(lambda state, _: {"state_dict": state, "hyper_parameters": argparse.Namespace(lr=0.1)}),
        r"an object of argparse.Namespace.*weights_only=False\)\['state_dict'\]",
    ),
    "a whole model": (
        pickled(lambda state, _: nn.Linear(3, 3)),
        "an object of torch.nn.modules.linear.Linear.*torch.save",
    ),
    "code": (
        pickled(lambda state, path: {"state_dict": state, "x": Trap(path / "unpickled")}),
        "cannot be read as a plain state dict",
    ),
    "an optimizer alone": (
        pickled(lambda state, _: {"state": {}, "param_groups": []}),
        "holds 'state': dict; expected a state dict",
    ),
    "an adapter": (
        writes("adapter_config.json", {"peft_type": "LORA"}),
        r"has adapter_config.json: it is of an adapter \(LoRA\).*merge_and_unload",
    ),
    "an adapter that was not merged": (
        tensors(
            lambda state: state.update(
                {"bert.encoder.layer.0.attention.self.query.lora_A.default.weight": torch.zeros(4, 64)}
            )
        ),
        r"lora_A.default.weight: it is of an adapter \(LoRA\)",
    ),
    "names of DataParallel": (
        pickled(lambda state, _: {f"module.{name}": tensor for name, tensor in state.items()}),
        "not expected: module.bert.*rookery import",
    ),
}


def logits_of(path: Path) -> tuple[CheckpointFolder, npt.NDArray[np.float32]]:
    folder = CheckpointFolder.open(path)
    predictor = Predictor(load_classifier(folder, torch.float32), "cpu")
    return folder, predictor.predict(np.concatenate(WINDOWS), np.array([len(window) for window in WINDOWS]))


@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT)
def test_kinds_that_give_transformers_logits(tmp_path: Path, make: Make) -> None:
    model = make(tmp_path / "folder")
    folder, found = logits_of(tmp_path / "folder")
    expected = [transformers_logits(model, window) for window in WINDOWS]
    assert np.abs(found - expected).max() < 1e-4
    assert folder.head.labels == tuple(model.config.id2label[i] for i in range(found.shape[1]))
    assert not (tmp_path / "folder" / "unpickled").exists()


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_kinds_that_are_refused(tmp_path: Path, make: Make, words: str) -> None:
    make(tmp_path / "folder")
    with pytest.raises(CheckpointError, match=words):
        logits_of(tmp_path / "folder")
    assert not (tmp_path / "folder" / "unpickled").exists()


def test_the_order_of_id2label_is_that_of_its_numbers(tmp_path: Path) -> None:
    """JSON that sorts its keys has "10" before "2"."""
    model = saved(id2label={int(k): v for k, v in ELEVEN.items()})(tmp_path / "folder")
    config = json.loads((tmp_path / "folder/config.json").read_text())
    config["id2label"] = {key: ELEVEN[key] for key in sorted(ELEVEN)}
    (tmp_path / "folder/config.json").write_text(json.dumps(config))
    assert list(config["id2label"]) != list(ELEVEN)
    folder, found = logits_of(tmp_path / "folder")
    assert folder.head.labels == tuple(ELEVEN.values())
    assert np.abs(found - [transformers_logits(model, window) for window in WINDOWS]).max() < 1e-4
