"""Which hand-written classifier a state dict is of, from the shapes of its tensors.

The encoder is where BigBirdModel's own names are, behind any prefix. Every other tensor is of a layer, whatever it is
called: the head is hidden -> labels, or hidden -> n -> labels with ReLU between; an attention over the tokens is hidden
-> 1, or hidden -> n -> 1 with tanh between. A way to give each layer one of these parts is a reading. Names count where
shapes leave a choice: hidden -> 1 is an attention only if its name says so, or whoever imports does, since a second
head has that shape too. Where no reading is left, or several are, they are listed: nothing is guessed.

Weights say neither how tokens are pooled (where there is no attention) nor whether a softmax or a sigmoid follows: who
imports has to know.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations

from pipeline.checkpoints.config import ARCHITECTURES
from pipeline.checkpoints.folder import ADAPTER_NAMES, adapter_error
from pipeline.errors import CheckpointError
from pipeline.messages import listed
from pipeline.terms import HeadKind, PoolingKind

Shapes = Mapping[str, tuple[int, ...]]
_Linear = tuple[int, int]  # outputs, inputs

_WORDS = "embeddings.word_embeddings.weight"
OF_ENCODER = ("embeddings.", "encoder.", "pooler.")  # BigBirdModel's own attributes
# What torch.compile, FSDP and activation checkpointing put into names, anywhere.
WRAPPERS = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# Parts, in the order in which they compute, under the names that names.py stores them by.
INNER_ATTENTION, ATTENTION, DENSE, LINEAR = "attention.dense", "attention.out", "fc", "classifier"
OF_ATTENTION = (INNER_ATTENTION, ATTENTION)
READINGS = tuple(
    (*attention, *head)
    for attention in ((), (ATTENTION,), (INNER_ATTENTION, ATTENTION))
    for head in ((LINEAR,), (DENSE, LINEAR))
)
# Names of what makes hidden -> 1 an attention, and of what no other layer is called.
MAY_BE_ATTENTION = re.compile(r"att|pool|gate|weigh|align|query|context", re.IGNORECASE)
IS_ATTENTION = re.compile(r"att(?!r)", re.IGNORECASE)
# fc1 or linear_1 without a second is a part of a head; the numbers of a Sequential say nothing.
FIRST_OF_MORE = re.compile(r"(?<=[a-zA-Z_])1$")
# Tensors of losses and metrics, of one dimension or none: no prediction depends on them.
_OF_TRAINING = re.compile(
    r"(?:^|[._])(?:loss|criterion|metrics?)(?:[._]|$)|loss_fn|(?:pos|class)_weights?$|\.(?:tp|fp|tn|fn)$",
    re.IGNORECASE,
)
# Heads of transformers' own, by the layers that only they have.
OF_TRANSFORMERS: Mapping[str, HeadKind] = {
    "classifier.dense": "bigbird",
    "qa_classifier.qa_outputs": "question_answering",
    "cls.predictions.transform.dense": "masked_lm",
}


@dataclass(frozen=True, slots=True)
class Named:
    """What whoever imports says: the encoder's prefix and the layers of parts, of an attention its one or two."""

    encoder: str | None = None
    dense: str | None = None
    linear: str | None = None
    attention: tuple[str, ...] = ()
    attends: bool = False

    @property
    def layers(self) -> dict[str, str]:
        """Parts and the layers that they are said to be."""
        parts = dict(zip((ATTENTION, INNER_ATTENTION), reversed(self.attention), strict=False))
        layers = {DENSE: self.dense, LINEAR: self.linear}
        return parts | {part: layer for part, layer in layers.items() if layer is not None}


@dataclass(frozen=True, slots=True)
class Recognised:
    """What is in a state dict.

    `pooling` is None where weights don't say it; `outputs` is 0 for heads with outputs of their own.

    `names` has, for each name in the state dict, that under which names.py stores the tensor; `layers` the head's
    layers as they are called there, with ours. `absent_biases` are zeros: the softmax of an attention does not see what
    is added to all scores, so people leave that bias out. `left_out` are tensors that no prediction depends on, or that
    are of other heads.
    """

    encoder: str
    names: Mapping[str, str]
    layers: Mapping[str, str]
    pooling: PoolingKind | None
    head: HeadKind
    outputs: int
    attention_size: int | None = None
    dense_size: int | None = None
    absent_biases: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def rename(self, name: str) -> str:
        """The name under which names.py stores a tensor of the state dict."""
        return self.names.get(name, name)

    def original(self, name: str) -> str:
        """The name in the state dict of what names.py stores as `name`."""
        theirs = next((theirs for theirs, ours in self.names.items() if ours == name), None)
        if theirs is not None:
            return theirs
        if name.startswith("bert."):
            return self.encoder + name.removeprefix("bert.")
        layer, _, kind = name.rpartition(".")
        return next((f"{theirs}.{kind}" for theirs, ours in self.layers.items() if ours == layer), name)


def recognise(shapes: Shapes, where: object, named: Named | None = None) -> Recognised:
    """Finds the encoder and the parts of the head.

    Raises:
        CheckpointError: no BigBird encoder or several, a decoder, an adapter, or a head of no reading or several; it
        names what is there.
    """
    named = named or Named()
    plain = {name: WRAPPERS.sub("", name) for name in shapes}
    longer = {short: name for name, short in plain.items()}
    twice = [name for name, short in plain.items() if longer[short] != name]
    if twice:
        raise CheckpointError(
            f"{where}: {twice[0]} and {longer[plain[twice[0]]]} are one name but for wrappers; expected each tensor "
            "once"
        )
    adapters = [name for name in shapes if ADAPTER_NAMES.search(name)]
    if adapters:
        raise adapter_error(where, f"holds {adapters[0]}")
    if any(".crossattention." in name for name in shapes):
        raise CheckpointError(f"{where}: a decoder with cross-attention; expected {_accepted()}")
    prefix = _encoder(plain, where, named)
    hidden = next(shapes[name] for name, short in plain.items() if short == prefix + _WORDS)[-1]
    names = {
        name: "bert." + short.removeprefix(prefix) for name, short in plain.items() if _is_of_encoder(short, prefix)
    }
    left_out = [
        name
        for name, short in plain.items()
        if name not in names and (_is_of_training(short, shapes[name]) or _is_of_other_encoder(short, plain.values()))
    ]
    unused = {*names, *left_out}
    rest = {short: shapes[name] for name, short in plain.items() if name not in unused}
    head = _Head(where, hidden, rest, named, _parent(prefix)).recognised()
    names |= {longer[short]: ours for short, ours in head.names.items()}
    left_out += [longer[short] for short in rest if short not in head.names]
    return Recognised(
        encoder=_prefix_in(plain, prefix),
        names=names,
        layers=head.layers,
        pooling=head.pooling,
        head=head.kind,
        outputs=head.outputs,
        attention_size=head.attention_size,
        dense_size=head.dense_size,
        absent_biases=head.absent_biases,
        left_out=tuple(left_out),
    )


def _encoder(plain: Mapping[str, str], where: object, named: Named) -> str:
    """What comes before BigBirdModel's own names, without wrappers."""
    prefixes = sorted({s.removesuffix(_WORDS) for s in plain.values() if s.endswith(_WORDS)})
    prefixes = [prefix for prefix in prefixes if not prefix or prefix.endswith(".")]
    if named.encoder is not None:
        prefix = WRAPPERS.sub("", named.encoder.rstrip(".") + "." if named.encoder else "")
        prefix = _meant(prefix, prefixes)
        if prefix not in prefixes:
            raise CheckpointError(
                f"{where}: holds no BigBird encoder as {named.encoder!r}; found {listed(sorted(prefixes))}"
            )
        return prefix
    if not prefixes:
        raise CheckpointError(
            f"{where}: holds no BigBird encoder: none of bigbird.{_WORDS}, bert.{_WORDS} or any other name before "
            f"{_WORDS}; found {listed(sorted(plain))}; expected {_accepted()}"
        )
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{where}: holds several encoders: {', '.join(prefix or repr('') for prefix in prefixes)}; give the one to "
            "import with --encoder"
        )
    return prefixes[0]


def _meant(given: str, names: Collection[str]) -> str:
    """The one name that ends so, where none is so."""
    longer = [name for name in names if name.endswith(f".{given}")]
    return longer[0] if given not in names and len(longer) == 1 else given


def _is_of_encoder(short: str, prefix: str) -> bool:
    return short.startswith(tuple(prefix + attribute for attribute in OF_ENCODER))


def _is_of_training(short: str, shape: tuple[int, ...]) -> bool:
    return len(shape) < 2 and _OF_TRAINING.search(short) is not None


def _is_of_other_encoder(short: str, names: Collection[str]) -> bool:
    """Only where one was chosen: several are refused otherwise."""
    others = (name.removesuffix(_WORDS) for name in names if name.endswith(_WORDS))
    return any(_is_of_encoder(short, prefix) for prefix in others)


def _prefix_in(plain: Mapping[str, str], prefix: str) -> str:
    """The encoder's prefix as it is in the state dict, wrappers included."""
    name = next(name for name, short in plain.items() if short == prefix + _WORDS)
    return name.removesuffix(_WORDS)


def _parent(prefix: str) -> str:
    """What comes before the names of the module that has the encoder."""
    return prefix[: prefix.rstrip(".").rfind(".") + 1]


@dataclass(frozen=True, slots=True)
class _RecognisedHead:
    """The head: its tensors' names and ours, and what it is."""

    names: Mapping[str, str]
    layers: Mapping[str, str]
    pooling: PoolingKind | None
    kind: HeadKind
    outputs: int
    attention_size: int | None = None
    dense_size: int | None = None
    absent_biases: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Head:
    """The tensors beside the encoder, their names without wrappers.

    `parent` is what transformers' own names stand behind.
    """

    where: object
    hidden: int
    shapes: Shapes
    named: Named
    parent: str
    layers: dict[str, _Linear] = field(init=False)

    def __post_init__(self) -> None:
        weights = {n.rpartition(".")[0]: s for n, s in self.shapes.items() if _kind(n) == "weight"}
        object.__setattr__(self, "layers", {n: s for n, s in weights.items() if len(s) == 2})

    def recognised(self) -> _RecognisedHead:
        for layer, kind in OF_TRANSFORMERS.items():
            if f"{self.parent}{layer}.weight" in self.shapes:
                return self._of_transformers(kind)
        self._check_tensors()
        if not self.layers:
            return _RecognisedHead({}, {}, None, "none", 0)
        parts = self._reading()
        layers = {layer: part for part, layer in parts.items()}
        names = {
            f"{layer}.{kind}".lstrip("."): f"{part}.{kind}"
            for part, layer in parts.items()
            for kind in ("weight", "bias")
            if f"{layer}.{kind}".lstrip(".") in self.shapes
        }
        has_bias = f"{ATTENTION}.bias" in names.values()
        return _RecognisedHead(
            names=names,
            layers=layers,
            pooling="attention" if ATTENTION in parts else None,
            kind="dense" if DENSE in parts else "linear",
            outputs=self.layers[parts[LINEAR]][0],
            attention_size=self._size(parts, INNER_ATTENTION),
            dense_size=self._size(parts, DENSE),
            absent_biases=(f"{ATTENTION}.bias",) if ATTENTION in parts and not has_bias else (),
        )

    def _of_transformers(self, kind: HeadKind) -> _RecognisedHead:
        names = {name: name.removeprefix(self.parent) for name in self.shapes}
        outputs = self.shapes.get(f"{self.parent}classifier.out_proj.bias", (0,))[0]
        return _RecognisedHead(names, {}, "cls" if kind == "bigbird" else "tokens", kind, outputs)

    def _size(self, parts: Mapping[str, str], part: str) -> int | None:
        return self.layers[parts[part]][0] if part in parts else None

    def _check_tensors(self) -> None:
        """Refuses what is no weight or bias of a linear layer: it may well have a part in the prediction."""
        kinds: dict[str, set[str]] = {}
        for name in self.shapes:
            kinds.setdefault(name.rpartition(".")[0], set()).add(_kind(name))
        missing = [f"{layer}.weight" for layer, present in kinds.items() if present == {"bias"}]
        if missing:
            raise self._unknown(missing=missing)
        surplus = [
            name
            for name in self.shapes
            if (layer := name.rpartition(".")[0]) not in self.layers
            or _kind(name) not in ("weight", "bias")
            or (_kind(name) == "bias" and self.shapes[name] != self.layers[layer][:1])
        ]
        if surplus:
            raise self._unknown(surplus=surplus)

    def _reading(self) -> dict[str, str]:
        """Parts -> layers, in the only way that there is."""
        named = self.named.layers
        unknown = [layer for layer in named.values() if self._plain(layer) not in self.layers]
        if unknown:
            raise CheckpointError(f"{self.where}: has no linear layer {unknown[0]!r}; found {self._listed()}")
        named = {part: self._plain(layer) for part, layer in named.items()}
        possible = [reading for reading in self._readings() if named.items() <= reading.items()]
        as_named = [reading for reading in possible if self._fits_names(reading, named)]
        # what has no part in it is of another head, if whoever imports says so
        covered = max(map(len, as_named), default=0) if named else len(self.layers)
        as_named = [reading for reading in as_named if len(reading) == covered]
        most = max(map(self._agreement, as_named), default=0)
        as_named = [reading for reading in as_named if self._agreement(reading) == most]
        if len(as_named) == 1:
            self._check_biases(as_named[0])
            return as_named[0]
        raise self._several(as_named or possible) if possible else self._unknown()

    def _readings(self) -> Iterator[dict[str, str]]:
        """Every way in which layers, or some of them, can be parts by their shapes."""
        for parts in READINGS:
            for layers in permutations(self.layers, len(parts)):
                reading = dict(zip(parts, layers, strict=True))
                if self._fits_shapes({part: self.layers[layer] for part, layer in reading.items()}):
                    yield reading

    def _fits_shapes(self, parts: Mapping[str, _Linear]) -> bool:
        inner_size = parts.get(INNER_ATTENTION, (self.hidden, 0))[0]
        dense_size = parts.get(DENSE, (self.hidden, 0))[0]
        inputs = {INNER_ATTENTION: self.hidden, ATTENTION: inner_size, DENSE: self.hidden, LINEAR: dense_size}
        return all(shape[1] == inputs[part] for part, shape in parts.items()) and (parts.get(ATTENTION, (1, 0))[0] == 1)

    def _fits_names(self, reading: Mapping[str, str], named: Mapping[str, str]) -> bool:
        """Whether names agree: an attention is called or said to be one, and no other layer is called one unasked."""
        attention = [reading[part] for part in OF_ATTENTION if part in reading]
        others = [reading[part] for part in (DENSE, LINEAR) if part in reading]
        named_layers = set(named.values())
        if self.named.attends:
            return bool(attention)
        if attention and not any(n in named_layers or self._says(MAY_BE_ATTENTION, n) for n in attention):
            return False
        if len(reading) == 1 and self._says(FIRST_OF_MORE, others[0]) and others[0] not in named_layers:
            return False
        return not any(self._says(IS_ATTENTION, name) for name in others if name not in named_layers)

    def _agreement(self, reading: Mapping[str, str]) -> int:
        """How well names agree: those of an attention that say so, less those of other parts that do."""
        named = [part for part, layer in reading.items() if self._says(MAY_BE_ATTENTION, layer)]
        return sum(1 if part in OF_ATTENTION else -1 for part in named)

    def _says(self, what: re.Pattern[str], layer: str) -> bool:
        """The layer's own name, without that of the module that has the encoder too."""
        return what.search(layer.removeprefix(self.parent)) is not None

    def _check_biases(self, reading: Mapping[str, str]) -> None:
        missing = [
            f"{layer}.bias"
            for part, layer in reading.items()
            if part != ATTENTION and f"{layer}.bias".lstrip(".") not in self.shapes
        ]
        if missing:
            raise self._unknown(missing=missing)

    def _plain(self, layer: str) -> str:
        """The layer that is meant, without wrappers and with the names of the modules that it is in."""
        return _meant(WRAPPERS.sub("", layer.removesuffix(".weight")), self.layers)

    def _several(self, readings: list[dict[str, str]]) -> CheckpointError:
        options = {ATTENTION: "--attention", DENSE: "--dense", LINEAR: "--linear"}
        ways = []
        for reading in readings:
            inner = f"{reading[INNER_ATTENTION]}," if INNER_ATTENTION in reading else ""
            ways.append(
                " ".join(
                    f"{options[part]} {inner if part == ATTENTION else ''}{layer}"
                    for part, layer in reading.items()
                    if part in options
                )
            )
        return CheckpointError(
            f"{self.where}: by shapes and names alone the layers beside the encoder are of no known classifier; found "
            f"{self._listed()}; they can be read as: {'; '.join(dict.fromkeys(ways))}: give the one that is right. "
            "What it leaves out must be of another head, and is not imported"
        )

    def _unknown(self, missing: Collection[str] = (), surplus: Collection[str] = ()) -> CheckpointError:
        return CheckpointError(
            f"{self.where}: the layers beside the encoder are of no known classifier; found {self._listed()} beside a "
            f"hidden size of {self.hidden}; missing: {listed(sorted(missing))}; "
            f"not expected: {listed(sorted(surplus))}; expected {_accepted()}; a tensor that no prediction depends on "
            "has to be taken out of the state dict"
        )

    def _listed(self) -> str:
        return ", ".join(f"{name} {list(shape)}" for name, shape in self.shapes.items())


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _accepted() -> str:
    return (
        f"a state dict of {', '.join(ARCHITECTURES)}; or of BigBirdModel, under any name, with a linear layer to the "
        "labels, or with a dense layer, ReLU and a linear one (fc and classifier, fc1 and fc2, …), and perhaps an "
        "attention over the tokens, a linear layer to one number or two with tanh between"
    )
