"""What a checkpoint folder says about itself, as small frozen values.

`config.json` is transformers' file and may hold keys that we do not need; `rookery.json` is ours
and strict. Defaults are those of transformers 5.23 (configuration_big_bird.py), because folders
leave out what equals them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pipeline.bigbird.model_config import FIXED_OUTPUTS, EncoderConfig, HeadConfig
from pipeline.checkpoints.json_file import JsonFile
from pipeline.errors import CheckpointError
from pipeline.terms import Activation, Aggregation, AttentionType, HeadKind, LongDocuments, PoolingKind, ProblemType

# transformers' names for what we run; its tanh forms differ from each other in rounding only.
ACTIVATIONS: Mapping[str, Activation] = {
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu": "gelu_erf",
    "gelu_python": "gelu_erf",
    "relu": "relu",
}
PROBLEM_TYPES: Mapping[str, ProblemType] = {
    "single_label_classification": "single_label",
    "multi_label_classification": "multi_label",
    "regression": "regression",
}
NAMED_BY_TRANSFORMERS: Mapping[ProblemType, str] = {
    **{ours: name for name, ours in PROBLEM_TYPES.items()},
    "binary": "multi_label_classification",  # the same loss, of one output
}
# transformers' classes that can be loaded, by what of them is computed.
ARCHITECTURES: Mapping[str, tuple[PoolingKind, HeadKind]] = {
    "BigBirdForSequenceClassification": ("cls", "bigbird"),
    "BigBirdForTokenClassification": ("tokens", "linear"),
    "BigBirdForQuestionAnswering": ("tokens", "question_answering"),
    "BigBirdForMaskedLM": ("tokens", "masked_lm"),
    "BigBirdForPreTraining": ("tokens", "masked_lm"),
    "BigBirdModel": ("mean", "none"),
}
DEFAULT_ARCHITECTURE = "BigBirdForSequenceClassification"
ROOKERY_KEYS = (
    "pooling",
    "attention_size",
    "head",
    "dense_size",
    "problem_type",
    "labels",
    "thresholds",
    "temperature",
    "windows",
)
WINDOW_KEYS = ("max_tokens", "long_documents", "overlap", "aggregation")


@dataclass(frozen=True, slots=True)
class DecisionConfig:
    """What turns scores into labels; a change here needs no accelerator.

    `thresholds` are probabilities of those labels that rookery.json names; the others have the
    problem type's default. The head's outputs are divided by `temperature` before the softmax or
    sigmoid.
    """

    thresholds: Mapping[str, float]
    temperature: float


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How the checkpoint wants long documents cut; None where it does not say. Unit: tokens."""

    max_tokens: int | None
    long_documents: LongDocuments | None
    overlap: int | None
    aggregation: Aggregation | None


def read_encoder(file: JsonFile) -> EncoderConfig:
    """Reads transformers' config.json.

    Raises:
        CheckpointError: not a BigBird encoder, or a value that cannot be.
    """
    _refuse_other_models(file)
    config = EncoderConfig(
        vocab_size=file.integer("vocab_size", 50358),
        hidden_size=file.integer("hidden_size", 768),
        layers=file.integer("num_hidden_layers", 12),
        heads=file.integer("num_attention_heads", 12),
        intermediate_size=file.integer("intermediate_size", 3072),
        max_positions=file.integer("max_position_embeddings", 4096),
        type_vocab_size=file.integer("type_vocab_size", 2),
        block_size=file.integer("block_size", 64),
        random_blocks=file.integer("num_random_blocks", 3),
        attention_type=file.choice("attention_type", get_args(AttentionType), "block_sparse"),
        activation=ACTIVATIONS[file.choice("hidden_act", tuple(ACTIVATIONS), "gelu_new")],
        norm_eps=file.number("layer_norm_eps", 1e-12),
        use_bias=file.boolean("use_bias", True),
        rescale_embeddings=file.boolean("rescale_embeddings", False),
    )
    if config.hidden_size % config.heads:
        expected = f"a divisor of hidden_size, which is {config.hidden_size}"
        raise file.wrong("num_attention_heads", expected)
    return config


def encoder_keys(encoder: EncoderConfig) -> dict[str, Any]:
    """The keys of transformers' config.json that describe this encoder."""
    return {
        "model_type": "big_bird",
        "vocab_size": encoder.vocab_size,
        "hidden_size": encoder.hidden_size,
        "num_hidden_layers": encoder.layers,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.intermediate_size,
        "max_position_embeddings": encoder.max_positions,
        "type_vocab_size": encoder.type_vocab_size,
        "block_size": encoder.block_size,
        "num_random_blocks": encoder.random_blocks,
        "attention_type": encoder.attention_type,
        "hidden_act": _first_name(encoder.activation, ACTIVATIONS),
        "layer_norm_eps": encoder.norm_eps,
        "use_bias": encoder.use_bias,
        "rescale_embeddings": encoder.rescale_embeddings,
    }


def read_head(config: JsonFile, rookery: JsonFile) -> HeadConfig:
    """rookery.json decides; what it leaves out comes from transformers' config.json.

    Raises:
        CheckpointError: an unknown choice, a size without its part, or labels that do not fit.
    """
    pooling, head = _parts(config, rookery)
    problem_type, labels = _outputs(config, rookery, head)
    asks = head == "question_answering"
    return HeadConfig(
        pooling=pooling,
        head=head,
        problem_type=problem_type,
        labels=labels,
        sep_token_id=config.integer("sep_token_id", 66, minimum=0) if asks else None,
        attention_size=_size_of(rookery, "pooling", pooling, "attention"),
        dense_size=_size_of(rookery, "head", head, "dense"),
    )


def head_keys(head: HeadConfig) -> dict[str, Any]:
    """The keys of transformers' config.json that describe this head, if it is transformers' own."""
    parts = (head.pooling, head.head)
    architecture = next((name for name, known in ARCHITECTURES.items() if known == parts), "BigBirdModel")
    values: dict[str, Any] = {"architectures": [architecture]}
    if head.sep_token_id is not None:
        values |= {"sep_token_id": head.sep_token_id}
    if head.head in FIXED_OUTPUTS:
        return values
    names = head.labels[1:] if head.problem_type == "binary" else head.labels
    return values | {
        "problem_type": NAMED_BY_TRANSFORMERS[head.problem_type],
        "id2label": {str(i): label for i, label in enumerate(names)},
        "label2id": {label: i for i, label in enumerate(names)},
    }


def rookery_keys(head: HeadConfig) -> dict[str, Any]:
    """The keys of rookery.json that say what config.json cannot."""
    sizes = {"attention_size": head.attention_size, "dense_size": head.dense_size}
    values: dict[str, Any] = {"pooling": head.pooling, "head": head.head}
    if head.problem_type == "binary":
        values |= {"problem_type": "binary", "labels": list(head.labels)}
    return values | {key: size for key, size in sizes.items() if size is not None}


def read_decision(rookery: JsonFile, head: HeadConfig) -> DecisionConfig:
    """Reads `thresholds` and `temperature` of rookery.json.

    Raises:
        CheckpointError: a threshold of no label of the head, or a bad number.
    """
    temperature = rookery.number("temperature", 1.0)
    if temperature <= 0:
        raise rookery.wrong("temperature", "a number above 0")
    return DecisionConfig(_thresholds(rookery, head), temperature)


def read_windows(rookery: JsonFile, encoder: EncoderConfig) -> WindowConfig:
    """Reads `windows` of rookery.json.

    Raises:
        CheckpointError: an unknown key, or a value that the encoder cannot serve.
    """
    windows = rookery.nested("windows")
    windows.refuse_unknown_keys(WINDOW_KEYS)
    max_tokens = windows.optional_integer("max_tokens", minimum=3)  # [CLS], a token, [SEP]
    if max_tokens is not None and max_tokens > encoder.max_positions:
        expected = f"at most the encoder's {encoder.max_positions} positions"
        raise windows.wrong("max_tokens", expected)
    return WindowConfig(
        max_tokens,
        windows.choice("long_documents", get_args(LongDocuments), None),
        windows.optional_integer("overlap", minimum=0),
        windows.choice("aggregation", get_args(Aggregation), None),
    )


def _refuse_other_models(file: JsonFile) -> None:
    architectures = ", ".join(map(str, file.get("architectures") or ["another model"]))
    if file.get("model_type") != "big_bird":
        raise file.wrong("model_type", f"'big_bird': {architectures} cannot be run, but {_accepted()}")
    for key in ("is_decoder", "add_cross_attention"):
        if file.boolean(key, False):
            expected = f"false: BigBird is run as an encoder, not as a decoder: {_accepted()}"
            raise file.wrong(key, expected)
    if file.get("quantization_config") is not None:
        expected = "none: quantized weights cannot be run; save the model without quantization"
        raise file.wrong("quantization_config", expected)
    if any(key.startswith("AutoModel") for key in file.nested("auto_map").values):
        expected = f"none: code that comes with a checkpoint is not run, but {_accepted()}"
        raise file.wrong("auto_map", expected)


def _accepted() -> str:
    return ", ".join(ARCHITECTURES)


def _parts(config: JsonFile, rookery: JsonFile) -> tuple[PoolingKind, HeadKind]:
    """rookery.json's pooling and head; what it leaves out is that of the class that wrote config.json."""
    pooling = rookery.choice("pooling", get_args(PoolingKind), None)
    head = rookery.choice("head", get_args(HeadKind), None)
    if pooling is None or head is None:
        architectures = config.get("architectures") or [DEFAULT_ARCHITECTURE]
        if not isinstance(architectures, list) or architectures[0] not in ARCHITECTURES:
            raise config.wrong("architectures", f"one of {_accepted()}")
        default_pooling, default_head = ARCHITECTURES[architectures[0]]
        pooling, head = pooling or default_pooling, head or default_head
    fixed = FIXED_OUTPUTS.get(head)
    if fixed and fixed.per_token != (pooling == "tokens"):
        raise CheckpointError(
            f"{rookery.path}: the head {head!r} has no use for the pooling {pooling!r}; expected "
            f"{'tokens' if fixed.per_token else 'another than tokens'}"
        )
    return pooling, head


def _outputs(config: JsonFile, rookery: JsonFile, head: HeadKind) -> tuple[ProblemType, tuple[str, ...]]:
    fixed = FIXED_OUTPUTS.get(head)
    if fixed is None:
        labels = _labels(config, rookery)
        return _problem_type(config, rookery, labels), labels
    for key in ("problem_type", "labels"):
        if rookery.get(key) is not None:
            raise rookery.wrong(key, f"none, because head is {head!r}: remove it")
    return fixed.problem_type, fixed.labels


def _first_name(value: str, names: Mapping[str, str]) -> str:
    return next(name for name, ours in names.items() if ours == value)


def _size_of(rookery: JsonFile, key: str, kind: str, part: str) -> int | None:
    """The inner size of a part that may have one; refused beside another part."""
    size = rookery.optional_integer(f"{part}_size", minimum=1)
    if size is not None and kind != part:
        raise rookery.wrong(f"{part}_size", f"none, because {key} is {kind!r}: remove it")
    return size


def _problem_type(config: JsonFile, rookery: JsonFile, labels: tuple[str, ...]) -> ProblemType:
    default: ProblemType = "regression" if len(labels) == 1 else "single_label"  # transformers' rule
    name = config.choice("problem_type", tuple(PROBLEM_TYPES), None)
    problem_type: ProblemType = rookery.choice(
        "problem_type", get_args(ProblemType), PROBLEM_TYPES[name] if name else default
    )
    if problem_type == "single_label" and len(labels) == 1:
        raise CheckpointError(
            f"{config.path.parent}: problem_type is single_label, but {labels[0]!r} is the only "
            "label, so its probability is always 1; expected binary (with a label for below the threshold and one for "
            f"above), multi_label or regression: set problem_type in {rookery.path.name}"
        )
    if problem_type == "regression" and len(labels) > 1:
        raise CheckpointError(
            f"{config.path.parent}: problem_type is regression and the head has {len(labels)} outputs; expected one: "
            "the table has one value for each document"
        )
    return problem_type


def _labels(config: JsonFile, rookery: JsonFile) -> tuple[str, ...]:
    outputs = _output_count(config)
    if rookery.get("problem_type") == "binary":
        labels = _checked_labels(rookery, "labels", rookery.get("labels"))
        if outputs != 1 or len(labels) != 2:
            expected = f"two labels, below the threshold and above, and one output of the head, which has {outputs}"
            raise rookery.wrong("labels", expected)
        return labels
    if rookery.get("labels") is not None:
        labels = _checked_labels(rookery, "labels", rookery.get("labels"))
        if len(labels) != outputs:
            expected = f"{outputs} labels, one for each output of the head ({config.path.name})"
            raise rookery.wrong("labels", expected)
        return labels
    names = config.get("id2label")
    if names is None:
        return tuple(f"LABEL_{i}" for i in range(outputs))  # as transformers calls them
    return _checked_labels(config, "id2label", [names[str(i)] for i in range(outputs)])


def _output_count(config: JsonFile) -> int:
    names = config.get("id2label")
    if names is None:
        return config.integer("num_labels", 2)  # transformers leaves out its default of two
    if not isinstance(names, dict) or not names or set(names) != set(map(str, range(len(names)))):
        raise config.wrong("id2label", "an object with one label under each of '0', '1', '2', ...")
    if config.integer("num_labels", len(names)) != len(names):
        raise config.wrong("num_labels", f"{len(names)}, as many as id2label has: remove one")
    for label, number in config.nested("label2id").values.items():
        if label in names.values() and names.get(str(number)) != label:
            expected = (
                f"the reverse of id2label, which has {label!r} under another number: correct the one that training "
                "did not use"
            )
            raise config.wrong("label2id", expected)
    return len(names)


def _checked_labels(file: JsonFile, key: str, labels: object) -> tuple[str, ...]:
    if not isinstance(labels, list) or not labels:
        raise file.wrong(key, "a list with one label for each output")
    if not all(isinstance(label, str) and label for label in labels):
        raise file.wrong(key, "labels that are strings and not empty; name them in rookery.json")
    if len(set(labels)) != len(labels):
        raise file.wrong(key, "labels that differ from each other; name them in rookery.json")
    return tuple(labels)


def _thresholds(rookery: JsonFile, head: HeadConfig) -> dict[str, float]:
    """Of the labels that have one, in the head's order."""
    if rookery.get("thresholds") is None:
        return {}
    if head.problem_type == "regression":
        raise rookery.wrong("thresholds", "none, because a regression decides nothing: remove them")
    if head.task != "classification":
        raise rookery.wrong("thresholds", f"none, because the task is {head.task}: remove them")
    thresholds = rookery.nested("thresholds")
    thresholds.refuse_unknown_keys(head.labels)
    named = [label for label in head.labels if thresholds.get(label) is not None]
    for label in named:
        if not 0 <= thresholds.number(label, 0) <= 1:
            raise thresholds.wrong(label, "a probability from 0 to 1")
    if head.problem_type == "binary" and named == [head.labels[0]]:
        expected = "a probability from 0 to 1: of two labels the second one's threshold decides"
        raise thresholds.wrong(head.labels[1], expected)
    return {label: thresholds.number(label, 0) for label in named}
