"""Classifiers as people write them around BigBirdModel, imported, against themselves on each window alone.

The tolerance is 1e-5 for probabilities, of which the worst measured is 5.5e-7, and 1e-4 for logits, as for the encoder
(test_encoder.py).
"""

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BigBirdConfig,
    BigBirdForCausalLM,
    BigBirdForMaskedLM,
    BigBirdForQuestionAnswering,
    BigBirdForSequenceClassification,
    BigBirdForTokenClassification,
    BigBirdModel,
    LongformerConfig,
    LongformerModel,
)

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.checkpoints.importing import ImportSource, convert
from pipeline.checkpoints.names import load_classifier
from pipeline.checkpoints.recognition import Named
from pipeline.errors import CheckpointError, ConfigError
from pipeline.inference.predictor import Predictor
from pipeline.tasks.classification import sigmoid, softmax
from tests.checkpoint_folders import (
    TINY,
    random_tokens,
    random_transformers_model,
    save_folder,
    transformers_logits,
)

TOLERANCE = 1e-4
WINDOWS = random_tokens([705, 1, 64, 1000, 63, 704, 65, 5])
LABELS = ("rook", "jackdaw", "crow")
H = TINY["hidden_size"]


class MeanLinear(nn.Module):
    def __init__(self, config: BigBirdConfig) -> None:
        super().__init__()
        self.bigbird = BigBirdModel(config)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(H, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bigbird(input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        probabilities: Tensor = torch.softmax(self.classifier(self.dropout(mean)), dim=-1)
        return probabilities


class MaxLinear(nn.Module):
    def __init__(self, config: BigBirdConfig) -> None:
        super().__init__()
        self.bigbird = BigBirdModel(config, add_pooling_layer=False)
        self.linear = nn.Linear(H, 3)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bigbird(input_ids, attention_mask=attention_mask)[0]
        probabilities: Tensor = self.softmax(self.linear(torch.max(hidden, dim=1).values))
        return probabilities


class MeanDense(nn.Module):
    def __init__(self, config: BigBirdConfig) -> None:
        super().__init__()
        self.bigbird = BigBirdModel(config)
        self.fc1 = nn.Linear(H, 48)
        self.fc2 = nn.Linear(48, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bigbird(input_ids, attention_mask=attention_mask)[0]
        return torch.softmax(self.fc2(torch.relu(self.fc1(hidden.mean(dim=1)))), dim=1)


class PooledLinear(nn.Module):
    def __init__(self, config: BigBirdConfig) -> None:
        super().__init__()
        self.bert = BigBirdModel(config)
        self.out = nn.Linear(H, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        _, pooled = self.bert(input_ids, attention_mask=attention_mask, return_dict=False)
        return torch.sigmoid(self.out(pooled))


class PooledDense(nn.Module):
    def __init__(self, config: BigBirdConfig) -> None:
        super().__init__()
        self.model = BigBirdModel(config)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(H, 40), nn.ReLU(), nn.Dropout(0.2), nn.Linear(40, 3))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        pooled = self.model(input_ids, attention_mask=attention_mask).pooler_output
        return torch.sigmoid(self.classifier(pooled))


class AttentionDense(nn.Module):
    def __init__(self, config: BigBirdConfig) -> None:
        super().__init__()
        self.bert = BigBirdModel(config)
        self.attention = nn.Linear(H, 1)
        self.fc = nn.Linear(H, 40)
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(40, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        scores = self.attention(hidden).squeeze(-1).masked_fill(attention_mask == 0, -1e9)
        context = (torch.softmax(scores, dim=1).unsqueeze(-1) * hidden).sum(dim=1)
        return torch.sigmoid(self.classifier(self.relu(self.fc(context))))


class TanhAttentionLinear(nn.Module):
    def __init__(self, config: BigBirdConfig) -> None:
        super().__init__()
        self.bert = BigBirdModel(config)
        self.attention = nn.Sequential(nn.Linear(H, 24), nn.Tanh(), nn.Linear(24, 1, bias=False), nn.Softmax(dim=1))
        self.classifier = nn.Linear(H, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        context = (self.attention(hidden) * hidden).sum(dim=1)
        return torch.sigmoid(self.classifier(context))


HAND_WRITTEN: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (MeanLinear, {"pooling": "mean", "problem_type": "single_label"}, {}),
    (MaxLinear, {"pooling": "max", "problem_type": "single_label"}, {}),
    (MeanDense, {"pooling": "mean", "problem_type": "single_label"}, {"dense_size": 48}),
    (PooledLinear, {"pooling": "pooler", "problem_type": "multi_label"}, {}),
    (PooledDense, {"pooling": "pooler", "problem_type": "multi_label"}, {"dense_size": 40}),
    (AttentionDense, {"problem_type": "multi_label"}, {"dense_size": 40}),
    (TanhAttentionLinear, {"problem_type": "multi_label"}, {"attention_size": 24}),
]


def hand_written(model_class: Any, attention_type: str = "block_sparse") -> Any:
    """In eval mode, with weights so large that each term shows (tests/checkpoint_folders.py)."""
    torch.manual_seed(0)
    model = model_class(BigBirdConfig(**TINY, attention_type=attention_type)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.2)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@torch.inference_mode()
def probabilities_of(model: Any, attention_type: str) -> Tensor:
    """What the model itself gives for each window alone."""
    encoder = next(module for module in model.modules() if isinstance(module, BigBirdModel))
    rows = []
    for window in WINDOWS:
        encoder.set_attention_type(attention_type)
        ids = torch.from_numpy(window)[None]
        rows.append(model(ids, torch.ones_like(ids)))
    return torch.cat(rows)


def beside(tmp_path: Path, model: Any) -> Path:
    """A folder with the encoder's config.json and a tokenizer, as from_pretrained has them."""
    encoder = next(module for module in model.modules() if isinstance(module, BigBirdModel))
    encoder.config.save_pretrained(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"no model")
    return tmp_path


def saved(model: Any, tmp_path: Path) -> Path:
    torch.save(model.state_dict(), beside(tmp_path, model) / "best.pt")
    return tmp_path / "best.pt"


def imported_logits(folder: CheckpointFolder, windows: list[Any] = WINDOWS) -> Any:
    lengths = np.array([len(window) for window in windows])
    predictor = Predictor(load_classifier(folder, torch.float32), "cpu")
    return predictor.predict(np.concatenate(windows), lengths)


@pytest.mark.parametrize("attention_type", ["block_sparse", "original_full"])
@pytest.mark.parametrize(("model_class", "told", "sizes"), HAND_WRITTEN, ids=lambda x: getattr(x, "__name__", ""))
def test_as_the_model_itself_on_each_window_alone(
    tmp_path: Path,
    model_class: Any,
    told: dict[str, Any],
    sizes: dict[str, int],
    attention_type: str,
) -> None:
    model = hand_written(model_class, attention_type)
    source = ImportSource(saved(model, tmp_path), labels=LABELS, **told)
    _, folder = convert(source, tmp_path / "imported")
    assert folder.head.labels == LABELS
    assert folder.head.problem_type == told["problem_type"]
    assert {key: getattr(folder.head, key) for key in sizes} == sizes
    expected = probabilities_of(model, attention_type).numpy()
    link = softmax if told["problem_type"] == "single_label" else sigmoid
    probabilities = link(imported_logits(folder).astype(np.float64))
    assert expected.max() - expected.min() > 0.3  # or nothing would be proved
    assert np.abs(probabilities - expected).max() < 1e-5


Write = Callable[[dict[str, Tensor], Path], Path]


def as_safetensors(state: dict[str, Tensor], folder: Path) -> Path:
    save_file(state, folder / "best.safetensors")
    return folder / "best.safetensors"


def as_pickle(change: Callable[[dict[str, Tensor]], object], **options: Any) -> Write:
    def write(state: dict[str, Tensor], folder: Path) -> Path:
        torch.save(change(state), folder / "best.ckpt", **options)
        return folder / "best.ckpt"

    return write


OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-5}]}


def whole_lightning(state: dict[str, Tensor]) -> object:
    """What Trainer.save_checkpoint writes of a module with a loss and hyperparameters that are plain."""
    return {
        "epoch": 3,
        "global_step": 500,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed("net.", state) | {"loss_fn.pos_weight": torch.ones(3)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9)}},
        "optimizer_states": [OPTIMIZER],
        "lr_schedulers": [{"last_epoch": 3}],
        "hyper_parameters": {"lr": 1e-5, "labels": ["a", "b", "c"]},
    }


def as_shards(state: dict[str, Tensor], folder: Path) -> Path:
    names = sorted(state)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: state[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in halves.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def as_one_file(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "epoch=3.ckpt")
    (folder / "optimizer.pt").write_bytes(b"not to be read")
    return folder


def as_trainer(state: dict[str, Tensor], folder: Path) -> Path:
    """A Trainer's checkpoint-500; what is no model in it is not looked at, and would not load."""
    save_file(state, folder / "model.safetensors")
    for name in (
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "rng_state_0.pth",
        "training_args.bin",
    ):
        (folder / name).write_bytes(b"not to be read")
    (folder / "trainer_state.json").write_text("{}")
    return folder


def as_two_files(save: Callable[..., object], name: str) -> Write:
    """What BigBirdModel.save_pretrained and the head's own state_dict leave, in one folder."""

    def write(state: dict[str, Tensor], folder: Path) -> Path:
        prefix = next(iter(state)).split(".")[0] + "."
        encoder = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
        save_file(encoder, folder / "model.safetensors")
        head = {n.removeprefix("classifier."): t for n, t in state.items() if not n.startswith(prefix)}
        save(head, folder / name)
        return folder

    return write


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


WRITES: dict[str, Write] = {
    "safetensors": as_safetensors,
    "DataParallel": as_pickle(lambda state: prefixed("module.", state)),
    "torch.compile": as_pickle(lambda state: prefixed("_orig_mod.", state)),
    "training loop": as_pickle(lambda state: {"epoch": 3, "model_state_dict": prefixed("module.", state), "loss": 0.1}),
    "Lightning": as_pickle(lambda state: {"state_dict": prefixed("model.", state)}),
    "Lightning, whole": as_pickle(whole_lightning),
    "DeepSpeed": as_pickle(lambda state: {"module": state, "optimizer": None, "global_steps": 5}),
    "any key": as_pickle(lambda state: {"run": {"net": state, "optimizer": OPTIMIZER}, "f1": 0.9}),
    "torch.compile, a part": as_pickle(
        lambda state: {n.replace("encoder.", "encoder._orig_mod."): t for n, t in state.items()}
    ),
    "FSDP": as_pickle(
        lambda state: {
            "_fsdp_wrapped_module." + n.replace("layer.0.", "layer.0._fsdp_wrapped_module."): t
            for n, t in state.items()
        }
    ),
    "torch before 1.6": as_pickle(dict, _use_new_zipfile_serialization=False),
    "strides": as_pickle(lambda state: {n: t.t().contiguous().t() if t.dim() == 2 else t for n, t in state.items()}),
    "shards": as_shards,
    "Trainer": as_trainer,
    "a folder with a file of another name": as_one_file,
    "head beside the encoder, a pickle": as_two_files(torch.save, "classifier.pt"),
    "head beside the encoder, safetensors": as_two_files(save_file, "head.safetensors"),
}


@pytest.mark.parametrize("model_class", [MeanLinear, PooledDense])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_forms_in_which_state_dicts_are_saved(tmp_path: Path, model_class: Any, write: Write) -> None:
    model = hand_written(model_class)
    (tmp_path / "form").mkdir()
    weights = write(model.state_dict(), beside(tmp_path / "form", model))
    _, plain = convert(
        ImportSource(saved(model, tmp_path), pooling="mean", problem_type="single_label"),
        tmp_path / "a",
    )
    _, folder = convert(ImportSource(weights, pooling="mean", problem_type="single_label"), tmp_path / "b")
    assert folder.weights_digest() == plain.weights_digest()
    assert folder.head == plain.head


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    model = hand_written(MeanDense).to(dtype).float()
    weights = as_safetensors({n: t.to(dtype) for n, t in model.state_dict().items()}, beside(tmp_path, model))
    source = ImportSource(weights, pooling="mean", problem_type="single_label")
    _, folder = convert(source, tmp_path / "imported")
    probabilities = softmax(imported_logits(folder).astype(np.float64))
    assert np.abs(probabilities - probabilities_of(model, "block_sparse").numpy()).max() < 1e-5


def test_one_of_two_tasks_is_imported_when_it_is_named(tmp_path: Path) -> None:
    model = hand_written(MeanLinear)
    model.topic = nn.Linear(H, 5)
    told: dict[str, Any] = {"pooling": "mean", "problem_type": "single_label"}
    source = ImportSource(saved(model, tmp_path), **told)
    with pytest.raises(CheckpointError, match="--linear classifier; --linear topic: give the one"):
        convert(source, tmp_path / "imported")
    named = replace(source, named=Named(linear="classifier"))
    recognised, folder = convert(named, tmp_path / "imported")
    assert recognised.left_out == ("topic.weight", "topic.bias")
    probabilities = softmax(imported_logits(folder).astype(np.float64))
    assert np.abs(probabilities - probabilities_of(model, "block_sparse").numpy()).max() < 1e-5


def as_adapter(state: dict[str, Tensor], folder: Path) -> Path:
    (folder / "adapter_config.json").write_text("{}")
    save_file(state, folder / "adapter_model.safetensors")
    return folder


def as_two_forms(state: dict[str, Tensor], folder: Path) -> Path:
    save_file(state, folder / "model.safetensors")
    torch.save({name: tensor + 1 for name, tensor in state.items()}, folder / "pytorch_model.bin")
    return folder


REFUSED_FORMS: dict[str, tuple[Write, str]] = {
    "hyperparameters that are objects": (
        as_pickle(lambda state: {"state_dict": state, "hyper_parameters": Namespace(lr=1e-5)}),
        r"an object of argparse.Namespace.*weights_only=False\)\['state_dict'\]",
    ),
    "a model and its moving average": (
        as_pickle(lambda state: {"model": state, "ema": state}),
        "holds several models' weights, under ema, model",
    ),
    "adapters": (
        as_pickle(lambda state: prefixed("base_model.model.", state)),
        r"it is of an adapter \(LoRA\)",
    ),
    "an adapter's folder": (as_adapter, r"has adapter_config.json: it is of an adapter \(LoRA\)"),
    "two forms that differ": (as_two_forms, "model.safetensors and pytorch_model.bin disagree"),
    "NaN": (
        as_pickle(lambda state: state | {"fc2.bias": torch.full((3,), float("nan"))}),
        "fc2.bias holds numbers that are not finite",
    ),
    "int8": (
        as_pickle(lambda state: state | {"fc2.weight": state["fc2.weight"].to(torch.int8)}),
        "fc2.weight is torch.int8 .* not quantized",
    ),
}


@pytest.mark.parametrize(("write", "words"), REFUSED_FORMS.values(), ids=REFUSED_FORMS)
def test_forms_that_are_refused(tmp_path: Path, write: Write, words: str) -> None:
    model = hand_written(MeanDense)
    source = ImportSource(
        write(model.state_dict(), beside(tmp_path, model)),
        pooling="mean",
        problem_type="single_label",
    )
    with pytest.raises(CheckpointError, match=words):
        convert(source, tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


def test_several_files_that_may_hold_the_head_are_named(tmp_path: Path) -> None:
    model = hand_written(MeanLinear)
    folder = as_two_files(torch.save, "old.pt")(model.state_dict(), beside(tmp_path, model))
    torch.save({}, folder / "new.pt")
    with pytest.raises(ConfigError, match=r"several files may hold the head: new.pt, old.pt"):
        convert(ImportSource(folder, pooling="mean", problem_type="multi_label"), tmp_path / "imported")


def test_config_and_tokenizer_may_lie_elsewhere(tmp_path: Path) -> None:
    model = hand_written(AttentionDense)
    (tmp_path / "hub").mkdir()
    elsewhere = beside(tmp_path / "hub", model)
    torch.save(model.state_dict(), tmp_path / "best.pt")
    told = ImportSource(tmp_path / "best.pt", problem_type="multi_label")
    for missing in ("--config", "--tokenizer"):
        with pytest.raises(ConfigError, match=missing):
            convert(told, tmp_path / "imported")
        told = ImportSource(
            told.weights,
            config=elsewhere if missing == "--config" else told.config,
            problem_type="multi_label",
        )
    told = ImportSource(told.weights, elsewhere / "config.json", elsewhere / "spiece.model", None, "multi_label")
    _, folder = convert(told, tmp_path / "imported")
    assert folder.head.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


OWN = [
    (BigBirdForSequenceClassification, "classification"),
    (BigBirdForTokenClassification, "token_classification"),
    (BigBirdForQuestionAnswering, "question_answering"),
    (BigBirdForMaskedLM, "masked_lm"),
    (BigBirdModel, "embedding"),
]


@pytest.mark.parametrize(("model_class", "task"), OWN)
def test_folders_of_transformers_are_imported_as_they_are_loaded(tmp_path: Path, model_class: Any, task: str) -> None:
    path = save_folder(random_transformers_model(model_class=model_class), tmp_path / "theirs")
    folder = CheckpointFolder.open(path)
    _, imported = convert(ImportSource(path), tmp_path / "imported")
    assert imported.head.task == task
    assert imported.head == folder.head
    assert imported.encoder == folder.encoder
    assert np.array_equal(imported_logits(imported, WINDOWS[:3]), imported_logits(folder, WINDOWS[:3]))


def test_a_state_dict_of_transformers_own_class_needs_nothing_told(tmp_path: Path) -> None:
    model = random_transformers_model()
    torch.save(model.state_dict(), beside(tmp_path, model) / "best.pt")
    _, folder = convert(ImportSource(tmp_path / "best.pt"), tmp_path / "imported")
    expected = [transformers_logits(model, window) for window in WINDOWS]
    assert np.abs(imported_logits(folder) - expected).max() < TOLERANCE


def test_what_we_import_we_import_again(tmp_path: Path) -> None:
    model = hand_written(AttentionDense)
    _, first = convert(ImportSource(saved(model, tmp_path), problem_type="multi_label"), tmp_path / "1")
    settings = json.loads((first.path / "rookery.json").read_text()) | {"temperature": 2.0}
    (first.path / "rookery.json").write_text(json.dumps(settings))
    _, again = convert(ImportSource(first.path), tmp_path / "2")
    assert (again.head, again.decision.temperature) == (first.head, 2.0)
    assert again.weights_digest() == first.weights_digest()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "give --pooling: cls"),
        ({"pooling": "mean"}, "give --problem-type single_label"),
    ],
)
def test_what_the_weights_do_not_say_has_to_be_told(tmp_path: Path, told: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        convert(ImportSource(saved(hand_written(MeanLinear), tmp_path), **told), tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("model_class", "change", "told", "message"),
    [
        (MeanLinear, lambda s: s.pop("classifier.bias"), {}, "missing: classifier.bias"),
        (MeanDense, lambda s: s.pop("fc2.weight"), {}, "missing: fc2.weight"),
        (AttentionDense, lambda s: s.pop("attention.weight"), {}, "missing: attention.weight"),
        (TanhAttentionLinear, lambda s: s.pop("attention.0.bias"), {}, "missing: attention.0.bias"),
        (MeanDense, lambda s: [s.pop("fc2.weight"), s.pop("fc2.bias")], {}, "no known classifier"),
        (
            MeanLinear,
            lambda s: s.pop("bigbird.encoder.layer.1.output.dense.bias"),
            {},
            "missing: bigbird.encoder.layer.1.output.dense.bias; not expected: none",
        ),
        (
            MeanLinear,
            lambda s: s.update({"bigbird.adapter.weight": torch.zeros(1)}),
            {},
            "missing: none; not expected: bigbird.adapter.weight",
        ),
        (
            MeanLinear,
            lambda s: s.update({"norm.weight": torch.ones(H), "norm.bias": torch.ones(H)}),
            {},
            r"no known classifier; found .*norm.weight \[64\].*; expected .* fc1 and fc2",
        ),
        (
            MeanLinear,
            lambda s: s.update({"classifier.weight": torch.zeros(3, 7)}),
            {},
            r"found classifier.weight \[3, 7\], classifier.bias \[3\] beside a hidden size of 64",
        ),
        (MaxLinear, lambda s: None, {"pooling": "pooler"}, "missing: bigbird.pooler.bias, bigb"),
        (MaxLinear, lambda s: None, {"labels": ("a", "b")}, "labels is .*; expected 3 labels"),
    ],
    ids=[
        "bias",
        "layer's weight",
        "attention's weight",
        "attention's inner bias",
        "layer",
        "encoder's bias",
        "surplus in the encoder",
        "surplus layer",
        "shape",
        "no pooler",
        "number of labels",
    ],
)
def test_every_key_is_accounted_for(
    tmp_path: Path, model_class: Any, change: Change, told: dict[str, Any], message: str
) -> None:
    model = hand_written(model_class)
    state = model.state_dict()
    change(state)
    torch.save(state, beside(tmp_path, model) / "best.pt")
    told = {"pooling": "mean", "problem_type": "single_label"} | told
    with pytest.raises(CheckpointError, match=message):
        convert(ImportSource(tmp_path / "best.pt", **told), tmp_path / "imported")
    assert not (tmp_path / "imported").exists()


def test_a_pooling_against_the_weights_is_refused(tmp_path: Path) -> None:
    source = ImportSource(saved(hand_written(AttentionDense), tmp_path), pooling="mean")
    with pytest.raises(ConfigError, match="pooling is said to be 'mean'; expected 'attention'"):
        convert(source, tmp_path / "imported")


SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 500}
CROSS = {"is_decoder": True, "add_cross_attention": True, "attention_type": "original_full"}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: BertForSequenceClassification(BertConfig(**SMALL)),
            "model_type is 'bert'; expected 'big_bird': BertForSequenceClassification cannot be run",
        ),
        (
            lambda: LongformerModel(LongformerConfig(**SMALL, attention_window=[16])),
            "model_type is 'longformer'; expected 'big_bird': LongformerModel cannot be run",
        ),
        (
            lambda: BigBirdForCausalLM(BigBirdConfig(**SMALL, is_decoder=True)),
            "is_decoder is True; expected false: BigBird is run as an encoder",
        ),
        (
            lambda: BigBirdModel(BigBirdConfig(**SMALL, **CROSS)),
            "is_decoder is True; expected false: BigBird is run as an encoder",
        ),
    ],
    ids=["BERT", "Longformer", "decoder", "cross-attention"],
)
def test_other_folders_are_refused_by_name(tmp_path: Path, model: Callable[[], Any], message: str) -> None:
    path = save_folder(model(), tmp_path / "theirs")
    with pytest.raises(CheckpointError, match=message):
        convert(ImportSource(path), tmp_path / "imported")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: BigBirdModel(BigBirdConfig(**SMALL, **CROSS)),
            "a decoder with cross-attention; expected a state dict of BigBirdForSequenceClass",
        ),
        (
            lambda: nn.Linear(3, 3),
            "holds no BigBird encoder: none of bigbird.embeddings.word_embed",
        ),
        (
            lambda: LongformerModel(LongformerConfig(**SMALL, attention_window=[16])),
            "not expected: encoder.layer.0.attention.self.key_global.bias",
        ),
    ],
    ids=["cross-attention", "no encoder", "Longformer"],
)
def test_other_state_dicts_are_refused_by_name(tmp_path: Path, model: Callable[[], Any], message: str) -> None:
    config = BigBirdConfig(**SMALL, intermediate_size=3072, max_position_embeddings=512)
    config.save_pretrained(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"no model")
    torch.save(model().state_dict(), tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match=message):
        convert(ImportSource(tmp_path / "best.pt"), tmp_path / "imported")


def test_a_whole_pickled_model_is_refused_with_a_way_out(tmp_path: Path) -> None:
    model = hand_written(MeanLinear)
    torch.save(model, beside(tmp_path, model) / "best.pt")
    with pytest.raises(CheckpointError, match=r"torch.save\(model.state_dict\(\), path\)"):
        convert(ImportSource(tmp_path / "best.pt"), tmp_path / "imported")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "imported").mkdir()
    with pytest.raises(ConfigError, match="is there already; expected the name of a new folder"):
        convert(ImportSource(tmp_path / "best.pt"), tmp_path / "imported")
