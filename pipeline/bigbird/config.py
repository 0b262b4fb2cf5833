"""What a checkpoint folder says about itself, as small frozen values.

`config.json` is transformers' file and may hold keys that we do not need; `rookery.json` is ours
and strict. Defaults are those of transformers 5.23 (configuration_big_bird.py), because folders
leave out what equals them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from pipeline.bigbird.json_file import JsonFile
from pipeline.errors import CheckpointError

AttentionType = Literal["block_sparse", "original_full"]
Activation = Literal["gelu_tanh", "gelu_erf", "relu"]
Pooling = Literal["cls", "pooler", "mean", "max", "attention", "tokens"]
HeadKind = Literal["bigbird", "linear", "dense", "question_answering", "masked_lm", "none"]
Task = Literal["classification", "token_classification", "question_answering", "masked_lm", "embedding"]
ProblemType = Literal["single_label", "multi_label", "binary", "regression"]
LongDocuments = Literal["windows", "head", "head_tail"]
Aggregation = Literal["mean", "max", "first"]

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
ARCHITECTURES: Mapping[str, tuple[Pooling, HeadKind]] = {
    "BigBirdForSequenceClassification": ("cls", "bigbird"),
    "BigBirdForTokenClassification": ("tokens", "linear"),
    "BigBirdForQuestionAnswering": ("tokens", "question_answering"),
    "BigBirdForMaskedLM": ("tokens", "masked_lm"),
    "BigBirdForPreTraining": ("tokens", "masked_lm"),
    "BigBirdModel": ("mean", "none"),
}
DEFAULT_ARCHITECTURE = "BigBirdForSequenceClassification"
# Heads whose outputs are not for a checkpoint to name.
FIXED_OUTPUTS: Mapping[HeadKind, tuple[ProblemType, tuple[str, ...]]] = {
    "question_answering": ("single_label", ("start", "end")),
    "masked_lm": ("single_label", ()),  # one output for each word of the vocabulary
    "none": ("regression", ()),  # the pooled hidden state itself
}
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
class EncoderConfig:
    """The encoder's shape and rule. `block_size` and `max_positions` are in tokens."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    max_positions: int
    type_vocab_size: int
    block_size: int
    random_blocks: int
    attention_type: AttentionType
    activation: Activation
    norm_eps: float
    use_bias: bool
    rescale_embeddings: bool

    @property
    def form(self) -> dict[str, object]:
        """What of it is hashed into a scoring key: all, for each of these changes what a window's scores are."""
        return {
            "vocabulary": self.vocab_size,
            "hidden": self.hidden_size,
            "layers": self.layers,
            "heads": self.heads,
            "intermediate": self.intermediate_size,
            "positions": self.max_positions,
            "token types": self.type_vocab_size,
            "block": self.block_size,
            "random blocks": self.random_blocks,
            "attention": self.attention_type,
            "activation": self.activation,
            "epsilon": self.norm_eps,
            "bias": self.use_bias,
            "rescaled": self.rescale_embeddings,
        }

    @property
    def full_attention_limit(self) -> int:
        """The longest window, in tokens, in which every token sees every other.

        (5 + 2r) blocks (modeling_big_bird.py, `max_tokens_to_attend`), compared with the length
        BEFORE it is rounded up to whole blocks; every window if the attention is full anyway.
        """
        if self.attention_type == "original_full":
            return self.max_positions
        return (5 + 2 * self.random_blocks) * self.block_size

    @classmethod
    def from_json(cls, file: JsonFile) -> Self:
        """Reads transformers' config.json.

        Raises:
            CheckpointError: not a BigBird encoder, or a value that cannot be.
        """
        _refuse_other_models(file)
        config = cls(
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

    def to_json(self) -> dict[str, Any]:
        """The keys of transformers' config.json that describe this encoder."""
        return {
            "model_type": "big_bird",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_positions,
            "type_vocab_size": self.type_vocab_size,
            "block_size": self.block_size,
            "num_random_blocks": self.random_blocks,
            "attention_type": self.attention_type,
            "hidden_act": _first_name(self.activation, ACTIVATIONS),
            "layer_norm_eps": self.norm_eps,
            "use_bias": self.use_bias,
            "rescale_embeddings": self.rescale_embeddings,
        }


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Where the head looks, what it computes, and what its outputs are called, in their order.

    A binary problem has one output and two labels: below the threshold and above.

    pooling    cls        the first token's hidden state
               pooler     the same through dense and tanh
               mean, max  of all tokens of the window
               attention  their mean, weighted by a softmax of linear(hidden), or, where there is an
                          `attention_size`, of linear(tanh(dense(hidden))) with so many inner units
               tokens     none: one row of outputs for each token
    head       linear     linear(pooled)
               dense      linear(relu(dense(pooled))), with `dense_size` inner units, or the hidden size
               bigbird    linear(activation(dense(pooled))), with the encoder's activation
               question_answering  transformers' own, on tokens: where an answer starts and ends
               masked_lm  transformers' own, on tokens: which word of the vocabulary stands there
               none       the pooled hidden state

    `sep_token_id` ends the question in question answering, and is None elsewhere.
    """

    pooling: Pooling
    head: HeadKind
    problem_type: ProblemType
    labels: tuple[str, ...]
    attention_size: int | None = None
    dense_size: int | None = None
    sep_token_id: int | None = None

    @property
    def form(self) -> dict[str, object]:
        """What of it is hashed into a scoring key: neither labels nor problem type, which turn scores into labels.

        The inner sizes are those of the weights, which are hashed themselves.
        """
        return {"pooling": self.pooling, "head": self.head, "separator": self.sep_token_id}

    @property
    def task(self) -> Task:
        """What the outputs are for."""
        match self.head:
            case "question_answering" | "masked_lm":
                return self.head
            case "none":
                return "embedding"
            case _:
                return "token_classification" if self.pooling == "tokens" else "classification"

    def outputs(self, encoder: EncoderConfig) -> int:
        """L: how many numbers the head computes of each window or token."""
        match self.task:
            case "embedding":
                return encoder.hidden_size
            case "masked_lm":
                return encoder.vocab_size
            case _:
                return 1 if self.problem_type == "binary" else len(self.labels)

    @classmethod
    def from_json(cls, config: JsonFile, rookery: JsonFile) -> Self:
        """rookery.json decides; what it leaves out comes from transformers' config.json.

        Raises:
            CheckpointError: an unknown choice, a size without its part, or labels that do not fit.
        """
        pooling, head = _parts(config, rookery)
        problem_type, labels = _outputs(config, rookery, head)
        asks = head == "question_answering"
        return cls(
            pooling=pooling,
            head=head,
            problem_type=problem_type,
            labels=labels,
            sep_token_id=config.integer("sep_token_id", 66, minimum=0) if asks else None,
            attention_size=_size_of(rookery, "pooling", pooling, "attention"),
            dense_size=_size_of(rookery, "head", head, "dense"),
        )

    def to_json(self) -> dict[str, Any]:
        """The keys of transformers' config.json that describe this head, if it is transformers' own."""
        parts = (self.pooling, self.head)
        own = next((name for name, known in ARCHITECTURES.items() if known == parts), None)
        values: dict[str, Any] = {"architectures": [own or "BigBirdModel"]}
        if self.sep_token_id is not None:
            values |= {"sep_token_id": self.sep_token_id}
        if self.head in FIXED_OUTPUTS:
            return values
        names = self.labels[1:] if self.problem_type == "binary" else self.labels
        return values | {
            "problem_type": NAMED_BY_TRANSFORMERS[self.problem_type],
            "id2label": {str(i): label for i, label in enumerate(names)},
            "label2id": {label: i for i, label in enumerate(names)},
        }

    def to_rookery_json(self) -> dict[str, Any]:
        """The keys of rookery.json that say what config.json cannot."""
        sizes = {"attention_size": self.attention_size, "dense_size": self.dense_size}
        values: dict[str, Any] = {"pooling": self.pooling, "head": self.head}
        if self.problem_type == "binary":
            values |= {"problem_type": "binary", "labels": list(self.labels)}
        return values | {key: size for key, size in sizes.items() if size is not None}


@dataclass(frozen=True, slots=True)
class DecisionConfig:
    """What turns scores into labels; a change here needs no accelerator.

    `thresholds` are probabilities of those labels that rookery.json names; the others have the
    problem type's default. The head's outputs are divided by `temperature` before the softmax or
    sigmoid.
    """

    thresholds: Mapping[str, float]
    temperature: float

    @classmethod
    def from_json(cls, rookery: JsonFile, head: HeadConfig) -> Self:
        """Reads `thresholds` and `temperature` of rookery.json.

        Raises:
            CheckpointError: a threshold of no label of the head, or a bad number.
        """
        temperature = rookery.number("temperature", 1.0)
        if temperature <= 0:
            raise rookery.wrong("temperature", "a number above 0")
        return cls(_thresholds(rookery, head), temperature)


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How the checkpoint wants long documents cut; None where it does not say. Unit: tokens."""

    max_tokens: int | None
    long_documents: LongDocuments | None
    overlap: int | None
    aggregation: Aggregation | None

    @classmethod
    def from_json(cls, rookery: JsonFile, encoder: EncoderConfig) -> Self:
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
        return cls(
            max_tokens,
            windows.choice("long_documents", get_args(LongDocuments), None),
            windows.optional_integer("overlap", minimum=0),
            windows.choice("aggregation", get_args(Aggregation), None),
        )


def _refuse_other_models(file: JsonFile) -> None:
    found = ", ".join(map(str, file.get("architectures") or ["another model"]))
    if file.get("model_type") != "big_bird":
        raise file.wrong("model_type", f"'big_bird': {found} cannot be run, but {_accepted()}")
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


def _parts(config: JsonFile, rookery: JsonFile) -> tuple[Pooling, HeadKind]:
    """rookery.json's pooling and head; what it leaves out is that of the class that wrote config.json."""
    pooling = rookery.choice("pooling", get_args(Pooling), None)
    head = rookery.choice("head", get_args(HeadKind), None)
    if pooling is None or head is None:
        architectures = config.get("architectures") or [DEFAULT_ARCHITECTURE]
        if not isinstance(architectures, list) or architectures[0] not in ARCHITECTURES:
            raise config.wrong("architectures", f"one of {_accepted()}")
        own_pooling, own_head = ARCHITECTURES[architectures[0]]
        pooling, head = pooling or own_pooling, head or own_head
    if (pooling == "tokens" and head == "none") or (
        pooling != "tokens" and head in ("question_answering", "masked_lm")
    ):
        raise CheckpointError(
            f"{rookery.path}: the head {head!r} has no use for the pooling {pooling!r}; expected "
            f"{'another than tokens' if head == 'none' else 'tokens'}"
        )
    return pooling, head


def _outputs(config: JsonFile, rookery: JsonFile, head: HeadKind) -> tuple[ProblemType, tuple[str, ...]]:
    if head not in FIXED_OUTPUTS:
        labels = _labels(config, rookery)
        return _problem_type(config, rookery, labels), labels
    for key in ("problem_type", "labels"):
        if rookery.get(key) is not None:
            raise rookery.wrong(key, f"none, because head is {head!r}: remove it")
    return FIXED_OUTPUTS[head]


def _first_name(value: str, names: Mapping[str, str]) -> str:
    return next(name for name, ours in names.items() if ours == value)


def _size_of(rookery: JsonFile, key: str, found: str, part: str) -> int | None:
    """The inner size of a part that may have one; refused beside another part."""
    size = rookery.optional_integer(f"{part}_size", minimum=1)
    if size is not None and found != part:
        raise rookery.wrong(f"{part}_size", f"none, because {key} is {found!r}: remove it")
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
            f"{config.path.parent}: problem_type is regression and the head has {len(labels)} outputs; expected one: the "
            "table has one value for each document"
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
            expected = f"the reverse of id2label, which has {label!r} under another number: correct the one that training did not use"
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
