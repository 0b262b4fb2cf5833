"""Which hand-written classifier a state dict is of, from its names and shapes alone.

A name is made of the encoder's attribute, then BigBirdModel's own names; or of the head's layer, then weight or bias. What people
call these layers is in the tables here: another name is refused, not guessed. Names say neither how tokens are pooled (where there
is no attention) nor whether a softmax or a sigmoid follows: who imports has to know.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product

from pipeline.bigbird.config import ARCHITECTURES, HeadKind, Pooling
from pipeline.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]

WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, a training framework
ENCODERS = ("bigbird.", "bert.", "model.", "")
WORDS = "embeddings.word_embeddings.weight"
SEQUENTIALS = ("classifier", "head", "fc", "mlp")
# A layer in a Sequential, alone or behind Dropout; two with ReLU between, with Dropout or without.
ALONE, TWO = ("0", "1"), (("0", "2"), ("0", "3"), ("1", "3"), ("1", "4"))

LINEAR = (
    "classifier", "linear", "fc", "out", "output", "out_proj", "head", "fc_out",
    *(f"{name}.{place}" for name, place in product(SEQUENTIALS, ALONE)),
)  # fmt: skip
DENSE = (
    *product(("dense", "fc", "linear", "hidden", "pre_classifier"), ("classifier", "out", "output", "out_proj")),
    ("fc", "linear"), ("dense", "linear"), ("fc1", "fc2"), ("linear1", "linear2"),
    *((f"{name}.{first}", f"{name}.{second}") for name, (first, second) in product(SEQUENTIALS, TWO)),
)  # fmt: skip
ATTENTION = ("attention", "attn", "attention.attention", "attention.0", "attention.out")
ATTENTION_DENSE = (
    ("attention.0", "attention.2"),
    ("attn.0", "attn.2"),
    ("attention.attention.0", "attention.attention.2"),
    ("attention.dense", "attention.out"),
)
# Heads of transformers' own, by the layers that only they have.
OWN: Mapping[str, HeadKind] = {
    "classifier.dense": "bigbird",
    "qa_classifier.qa_outputs": "question_answering",
    "cls.predictions.transform.dense": "masked_lm",
}


@dataclass(frozen=True, slots=True)
class Recognised:
    """What is in a state dict. `pooling` is None where names don't say it; `outputs` is 0 for heads with outputs of their own.

    `layers` are the head's layers as they are called there, with the names under which checkpoint.py stores them. `absent_biases` are
    zeros: the softmax of an attention does not see what is added to all scores, so people leave that bias out.
    """

    wrapper: str
    encoder: str
    layers: Mapping[str, str]
    pooling: Pooling | None
    head: HeadKind
    outputs: int
    attention_size: int | None = None
    dense_size: int | None = None
    absent_biases: tuple[str, ...] = ()

    def rename(self, name: str) -> str:
        """The name under which checkpoint.py stores a tensor; its own where it is none of ours."""
        name = name.removeprefix(self.wrapper)
        if _is_of_encoder(name, self.encoder):
            return "bert." + name.removeprefix(self.encoder)
        layer, _, kind = name.rpartition(".")
        return f"{self.layers[layer]}.{kind}" if layer in self.layers else name

    def original(self, name: str) -> str:
        """The name in the state dict of what checkpoint.py stores as `name`."""
        if name.startswith("bert."):
            return self.wrapper + self.encoder + name.removeprefix("bert.")
        layer, _, kind = name.rpartition(".")
        theirs = next((theirs for theirs, ours in self.layers.items() if ours == layer), layer)
        return f"{self.wrapper}{theirs}.{kind}"


def recognise(shapes: Shapes, where: object) -> Recognised:
    """Raises CheckpointError: no BigBird encoder, a decoder, or a head in no table; it names what is there."""
    wrapper = _wrapper(shapes)
    shapes = {name.removeprefix(wrapper): shape for name, shape in shapes.items()}
    if any(".crossattention." in name for name in shapes):
        raise CheckpointError(f"{where}: a decoder with cross-attention; expected {_accepted()}")
    encoder = next((prefix for prefix in ENCODERS if prefix + WORDS in shapes), None)
    if encoder is None:
        raise CheckpointError(
            f"{where}: holds no BigBird encoder: none of {', '.join(prefix + WORDS for prefix in ENCODERS)}; found "
            f"{_shown(shapes)}; expected {_accepted()}"
        )
    head = {name: shape for name, shape in shapes.items() if not _is_of_encoder(name, encoder)}
    return _Head(head, where).recognised(wrapper, encoder)


@dataclass(frozen=True, slots=True)
class _Head:
    """The tensors beside the encoder."""

    shapes: Shapes
    where: object

    @property
    def layers(self) -> set[str]:
        return {name.rpartition(".")[0] for name in self.shapes}

    def recognised(self, wrapper: str, encoder: str) -> Recognised:
        for layer, own in OWN.items():
            if layer in self.layers:
                pooling: Pooling = "cls" if own == "bigbird" else "tokens"
                outputs = self.shapes.get("classifier.out_proj.bias", (0,))[0]
                return Recognised(wrapper, encoder, {}, pooling, own, outputs)
        attention = self._attention()
        head = self._head(self.layers - set(attention))
        layers = attention | head
        if not layers:
            return Recognised(wrapper, encoder, {}, None, "none", 0)
        self._check_layers(layers)
        sizes = {ours: self._weight(theirs) for theirs, ours in layers.items()}
        *dense, (outputs, _) = [sizes[ours] for ours in head.values()]
        return Recognised(
            wrapper=wrapper,
            encoder=encoder,
            layers=layers,
            pooling="attention" if attention else None,
            head="dense" if dense else "linear",
            outputs=outputs,
            attention_size=sizes["attention.dense"][0] if "attention.dense" in sizes else None,
            dense_size=dense[0][0] if dense else None,
            absent_biases=tuple(wrapper + name for name in self._absent_biases(layers)),
        )

    def _attention(self) -> dict[str, str]:
        for dense, out in ATTENTION_DENSE:
            if {dense, out} <= self.layers:
                return {dense: "attention.dense", out: "attention.out"}
        for out in ATTENTION:
            if out in self.layers:
                return {out: "attention.out"}
        return {}

    def _head(self, layers: set[str]) -> dict[str, str]:
        for dense, out in DENSE:
            if layers == {dense, out}:
                return {dense: "fc", out: "classifier"}
        for out in LINEAR:
            if layers == {out}:
                return {out: "classifier"}
        if self.layers:
            raise self._unknown()
        return {}

    def _absent_biases(self, layers: Mapping[str, str]) -> list[str]:
        scores = [f"{theirs}.bias" for theirs, ours in layers.items() if ours == "attention.out"]
        return [name for name in scores if name not in self.shapes]

    def _check_layers(self, layers: Mapping[str, str]) -> None:
        for theirs in layers:
            names = {f"{theirs}.weight", f"{theirs}.bias"}
            found = {name for name in self.shapes if name.rpartition(".")[0] == theirs}
            if found | (names & set(self._absent_biases(layers))) != names:
                raise CheckpointError(
                    f"{self.where}: missing: {_shown(names - found)}; not expected: {_shown(found - names)}; expected weight and bias of "
                    f"each layer of the head"
                )

    def _weight(self, layer: str) -> tuple[int, int]:
        shape = self.shapes[f"{layer}.weight"]
        if len(shape) != 2:
            raise self._unknown()
        return shape[0], shape[1]

    def _unknown(self) -> CheckpointError:
        found = ", ".join(f"{name} {list(shape)}" for name, shape in self.shapes.items())
        return CheckpointError(
            f"{self.where}: the layers beside the encoder are of no known classifier; found {found}; expected {_accepted()}; if it is one "
            "of those, rename its layers in the state dict"
        )


def _wrapper(shapes: Shapes) -> str:
    """What comes before every name, and is none of the encoder's attributes."""
    wrapper = ""
    while True:
        rest = [name.removeprefix(wrapper) for name in shapes]
        more = next((w for w in WRAPPERS if rest and all(name.startswith(w) for name in rest)), "")
        if not more:
            return wrapper
        wrapper += more


def _is_of_encoder(name: str, encoder: str) -> bool:
    if encoder:
        return name.startswith(encoder)
    return name.startswith(("embeddings.", "encoder.", "pooler."))


def _accepted() -> str:
    return (
        f"a state dict of {', '.join(ARCHITECTURES)}; or of BigBirdModel as bigbird, bert or model with a linear layer "
        f"({', '.join(LINEAR[:3])}, …), or with a dense layer, ReLU and a linear one (dense and classifier, fc and out, fc1 and fc2, …), "
        "and perhaps an attention over the tokens (attention)"
    )


def _shown(names: Collection[str]) -> str:
    shown = sorted(names)[:8]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return (", ".join(shown) or "none") + more
