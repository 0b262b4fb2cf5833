"""Reads and writes a classifier's weights under the names that transformers gives them.

Those of a pooling and of a head it says itself (`stored_names`).

Loading is strict: every tensor of the files is used, or known to be of no use, and every
parameter is filled.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialize
from torch import Tensor, nn

from pipeline.bigbird.classifier import Classifier
from pipeline.bigbird.encoder import Layer
from pipeline.bigbird.heads.head import Head
from pipeline.bigbird.model_config import HeadConfig
from pipeline.bigbird.poolings.pooling import Pooling
from pipeline.checkpoints.config import encoder_keys, head_keys, rookery_keys
from pipeline.checkpoints.folder import ADAPTER_NAMES, CheckpointFolder, adapter_error, other_weight_files, weight_files
from pipeline.checkpoints.weights import Stored, read_all
from pipeline.errors import CheckpointError
from pipeline.messages import listed

# What transformers stores and not every classifier uses.
UNUSED = (
    "bert.pooler.weight",
    "bert.pooler.bias",
    "bert.embeddings.position_ids",
    "bert.embeddings.token_type_ids",
)
NEXT_SENTENCE = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")
MASKED_LM = (
    "cls.predictions.transform.dense.weight",
    "cls.predictions.transform.dense.bias",
    "cls.predictions.transform.LayerNorm.weight",
    "cls.predictions.transform.LayerNorm.bias",
    "cls.predictions.bias",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
)
UNUSED_BY: Mapping[str, tuple[str, ...]] = {
    "masked_lm": NEXT_SENTENCE,
    "none": (*NEXT_SENTENCE, *MASKED_LM),  # the folders that encoders are published in
}
# Second names that masked_lm's tensors may have, or have alone.
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
BARE = ("embeddings.", "encoder.", "pooler.")  # BigBirdModel alone leaves out "bert."
ENCODER = "bert."
OLD_NAMES = ((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias"))
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)  # fp8 needs scales, as int8

Rename = Callable[[str], str]


def load_classifier(folder: CheckpointFolder, dtype: torch.dtype) -> Classifier:
    """The folder's classifier on the CPU, in eval mode, its encoder as `dtype`.

    Raises:
        CheckpointError: a file cannot be read, or does not hold exactly this model.
    """
    classifier = Classifier(folder.encoder, folder.head, dtype=dtype)
    refuse_other_weights(folder.path)
    fill(classifier, read_all(folder.weight_files), folder.path)
    return classifier.eval()


def refuse_other_weights(path: Path) -> None:
    """Raises CheckpointError for two forms of the weights that differ: nobody knows which was trained last."""
    others = other_weight_files(path)
    ours = {_current_name(s.name): s for s in read_all(weight_files(path) if others else ())}
    for other in read_all(others):
        one = ours.get(_current_name(other.name))
        if one is not None and not _same(one.tensor, other.tensor):
            raise CheckpointError(
                f"{one.file} and {other.file.name} disagree: {one.name} differs; expected the same weights in both, "
                "or one of them: remove the one that is out of date"
            )


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.float(), other.float().to(one.dtype).float())


def load_encoder(folder: CheckpointFolder, classifier: Classifier) -> None:
    """Fills the encoder of `classifier`, whose head is another than the folder's; what else the files hold is not used.

    Raises:
        CheckpointError: a file cannot be read, or a tensor of the encoder is missing.
    """
    places = stored_tensors(classifier)
    ours = {name: place for name, place in places.items() if name.startswith(ENCODER)}
    refuse_other_weights(folder.path)
    names_in_files = _fill_all(ours, read_all(folder.weight_files))
    missing = set(ours) - set(names_in_files) - set(UNUSED)
    if missing:
        _refuse_adapter_names(folder.path, names_in_files)
        raise CheckpointError(
            f"{folder.path}: the weights are not those of a BigBird; missing: {listed(sorted(missing))}"
        )


def fill(
    classifier: Classifier,
    stored: Iterable[Stored],
    where: Path,
    *,
    rename: Rename = str,
    original: Rename = str,
) -> None:
    """Fills every parameter from the tensors of files, which `where` stands for in messages.

    `rename` makes our name of a tensor's, `original` the reverse, for messages.

    Raises:
        CheckpointError: they are not exactly those of this classifier.
    """
    places = stored_tensors(classifier)
    names_in_files = _fill_all(places, stored, rename)
    _refuse_other_names(where, classifier.head_config, names_in_files, {n: original(n) for n in places})


def _fill_all(places: Mapping[str, Tensor], stored: Iterable[Stored], rename: Rename = str) -> dict[str, str]:
    """Fills the places that there are tensors for; returns our names of all tensors, with those in the files."""
    tied = TIED if set(TIED.values()) <= set(places) else {}
    names_in_files: dict[str, str] = {}
    for file, stored_name, tensor in stored:
        name = _current_name(rename(stored_name))
        name = tied.get(name, name)
        if name in places:
            fill_or_compare = _refuse_other_values if name in names_in_files else _fill
            fill_or_compare(places[name], tensor, stored_name, file)
        names_in_files[name] = stored_name
    return names_in_files


def save(
    classifier: Classifier,
    path: Path,
    *,
    dtype: torch.dtype = torch.float32,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Writes config.json, rookery.json and model.safetensors into `path`.

    transformers loads what is its own of it: the encoder, and the head if it is one of ARCHITECTURES (config.py).
    `settings` are further keys of rookery.json, such as thresholds and windows.
    """
    path.mkdir(parents=True, exist_ok=True)
    config = encoder_keys(classifier.encoder_config) | head_keys(classifier.head_config)
    _write_json(path / "config.json", config)
    _write_json(path / "rookery.json", rookery_keys(classifier.head_config) | dict(settings or {}))
    tensors = {name: tensor.detach().to("cpu", dtype, copy=True) for name, tensor in stored_tensors(classifier).items()}
    if classifier.head_config.task != "question_answering":
        # transformers' model has a pooler, computes it and throws it away. The identity keeps it from
        # reporting missing weights, and from drawing random ones.
        size = classifier.encoder_config.hidden_size
        tensors.setdefault("bert.pooler.weight", torch.eye(size, dtype=dtype))
        tensors.setdefault("bert.pooler.bias", torch.zeros(size, dtype=dtype))
    # not save_file: it makes a file that only its owner may read
    (path / "model.safetensors").write_bytes(serialize(tensors, metadata={"format": "pt"}))


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def stored_tensors(classifier: Classifier) -> dict[str, Tensor]:
    """A file's name -> the classifier's parameter, or the part of it, that it stands for."""
    embeddings = classifier.encoder.embeddings
    tensors = {
        "bert.embeddings.word_embeddings.weight": embeddings.word.weight,
        "bert.embeddings.position_embeddings.weight": embeddings.position.weight,
        "bert.embeddings.token_type_embeddings.weight": embeddings.token_type.weight,
        **_module("bert.embeddings.LayerNorm", embeddings.norm),
        **_part(classifier.pooling, "pooling"),
        **_part(classifier.head, "head"),
    }
    for number, layer in enumerate(classifier.encoder.layers):
        assert isinstance(layer, Layer)
        tensors |= _layer(f"bert.encoder.layer.{number}", layer)
    return tensors


def _part(part: Pooling | Head, prefix: str) -> dict[str, Tensor]:
    """A pooling's or a head's parameters under the names that it gives them, or behind `prefix` under its own."""
    return {_stored_name(name, part.stored_names, prefix): p for name, p in part.named_parameters()}


def _stored_name(name: str, stored_names: Mapping[str, str], prefix: str) -> str:
    for inner, stored in stored_names.items():
        if name == inner or name.startswith(f"{inner}."):
            return stored + name.removeprefix(inner)
    return f"{prefix}.{name}"


def _layer(prefix: str, layer: Layer) -> dict[str, Tensor]:
    return {
        **_fused(f"{prefix}.attention.self", layer.qkv),
        **_module(f"{prefix}.attention.output.dense", layer.out),
        **_module(f"{prefix}.attention.output.LayerNorm", layer.attention_norm),
        **_module(f"{prefix}.intermediate.dense", layer.up),
        **_module(f"{prefix}.output.dense", layer.down),
        **_module(f"{prefix}.output.LayerNorm", layer.output_norm),
    }


def _module(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": parameter for name, parameter in module.named_parameters()}


def _fused(prefix: str, qkv: nn.Linear) -> dict[str, Tensor]:
    """The three parts of the fused projection, as views."""
    return {
        f"{prefix}.{part}.{name}": view
        for name, parameter in qkv.named_parameters()
        for part, view in zip(("query", "key", "value"), parameter.chunk(3), strict=True)
    }


def _current_name(name: str) -> str:
    for old, new in OLD_NAMES:
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return f"bert.{name}" if name.startswith(BARE) else name


def _fill(place: Tensor, tensor: Tensor, name: str, file: Path) -> None:
    if tensor.shape != place.shape or tensor.dtype not in DTYPES:
        raise CheckpointError(
            f"{file}: {name} is {tensor.dtype} of shape {list(tensor.shape)}; expected floating "
            f"point of shape {list(place.shape)}, not quantized, by config.json: do the two belong together?"
        )
    if not tensor.isfinite().all():
        raise CheckpointError(
            f"{file}: {name} holds numbers that are not finite (NaN or infinity); expected finite weights: the "
            "training has diverged, or the file is damaged"
        )
    with torch.no_grad():
        place.copy_(tensor)


def _refuse_other_values(place: Tensor, tensor: Tensor, name: str, file: Path) -> None:
    if not torch.equal(place, tensor.to(place.dtype)):
        raise CheckpointError(
            f"{file}: {name} stands for a tensor that is there under another name with other values; expected the "
            "same: weights that are not tied cannot be run"
        )


def _refuse_other_names(
    where: Path, head: HeadConfig, names_in_files: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    """Each with our name -> the name to show."""
    unused = {*UNUSED, *UNUSED_BY.get(head.head, ())}
    missing = [expected[name] for name in expected.keys() - names_in_files.keys()]
    surplus = [names_in_files[name] for name in names_in_files.keys() - expected.keys() - unused]
    if missing or surplus:
        _refuse_adapter_names(where, names_in_files)
        raise CheckpointError(
            f"{where}: the weights are not those of {head_keys(head)['architectures'][0]} with this config.json "
            f"(pooling {head.pooling}, head {head.head}); missing: {listed(sorted(missing))}; not expected: "
            f"{listed(sorted(surplus))}: weights of another class are imported, with rookery import"
        )


def _refuse_adapter_names(where: Path, names_in_files: Mapping[str, str]) -> None:
    adapters = [name for name in names_in_files.values() if ADAPTER_NAMES.search(name)]
    if adapters:
        raise adapter_error(where, f"holds {adapters[0]}")
