"""By names and shapes alone; test_conversion.py computes what is recognised."""

import pytest

from pipeline.checkpoints.recognition import Named, Recognised, Shapes, recognise
from pipeline.errors import CheckpointError

# What people call these layers, and what nobody does.
LINEAR = (
    "classifier",
    "linear",
    "fc",
    "out",
    "output",
    "out_proj",
    "head",
    "fc_out",
    "classifier.0",
    "classifier.1",
    "mlp.1",
    "lstm",
    "layer_x.y",
)
DENSE = (
    ("fc1", "classifier"),
    ("hidden", "output"),
    ("proj", "head"),
    ("dense", "out_proj"),
    ("fc", "linear"),
    ("linear1", "linear2"),
    ("classifier.0", "classifier.2"),
    ("head.1", "head.4"),
    ("a", "b"),
    ("z.net", "a.net"),
)
ATTENTION = ("attention", "attn", "att", "attention.attention", "attention.0", "word_attention.score", "pool.gate")
ATTENTION_DENSE = (
    ("attention.0", "attention.2"),
    ("attn.0", "attn.2"),
    ("attention.attention.0", "attention.attention.2"),
    ("attention.dense", "attention.out"),
    ("att_proj", "att_out"),
    ("pooling.w", "pooling.v"),
)

ENCODER = {
    "embeddings.word_embeddings.weight": (100, 8),
    "encoder.layer.0.output.dense.bias": (8,),
    "pooler.weight": (8, 8),
}


def state(prefix: str, **layers: tuple[int, int]) -> Shapes:
    shapes: dict[str, tuple[int, ...]] = {prefix + name: shape for name, shape in ENCODER.items()}
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def parts(recognised: Recognised) -> tuple[object, ...]:
    return (
        recognised.pooling,
        recognised.attention_size,
        recognised.head,
        recognised.dense_size,
        recognised.outputs,
    )


@pytest.mark.parametrize("out", LINEAR)
def test_a_linear_layer(out: str) -> None:
    recognised = recognise(state("bigbird.", **{out: (3, 8)}), "file")
    assert parts(recognised) == (None, None, "linear", None, 3)


@pytest.mark.parametrize(("dense", "out"), DENSE)
def test_two_layers(dense: str, out: str) -> None:
    recognised = recognise(state("bert.", **{out: (3, 5), dense: (5, 8)}), "file")
    assert parts(recognised) == (None, None, "dense", 5, 3)
    assert recognised.rename(f"{dense}.weight") == "fc.weight"
    assert recognised.rename(f"{out}.weight") == "classifier.weight"


@pytest.mark.parametrize("attention", ATTENTION)
def test_an_attention(attention: str) -> None:
    shapes = state("bert.", **{attention: (1, 8), "fc": (5, 8), "classifier": (3, 5)})
    assert parts(recognise(shapes, "file")) == ("attention", None, "dense", 5, 3)


@pytest.mark.parametrize(("dense", "out"), ATTENTION_DENSE)
def test_an_attention_of_two_layers(dense: str, out: str) -> None:
    shapes = state("model.", **{dense: (6, 8), out: (1, 6), "classifier": (3, 8)})
    assert parts(recognise(shapes, "file")) == ("attention", 6, "linear", None, 3)


@pytest.mark.parametrize("encoder", ["bigbird.", "bert.", "model."])
@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.module."])
def test_every_name_has_one_of_ours_and_back(encoder: str, wrapper: str) -> None:
    shapes = {wrapper + name: shape for name, shape in state(encoder, out=(3, 8)).items()}
    recognised = recognise(shapes, "file")
    assert recognised.encoder == wrapper + encoder
    ours = [recognised.rename(name) for name in shapes]
    assert ours == [
        "bert.embeddings.word_embeddings.weight",
        "bert.encoder.layer.0.output.dense.bias",
        "bert.pooler.weight",
        "classifier.weight",
        "classifier.bias",
    ]
    assert [recognised.original(name) for name in ours] == list(shapes)


@pytest.mark.parametrize("prefix", ["", "bert.", "model.", "module.bert."])
def test_an_encoder_alone(prefix: str) -> None:
    assert parts(recognise(state(prefix), "file")) == (None, None, "none", None, 0)


@pytest.mark.parametrize(
    "layers",
    [
        {"classifier": (3, 8), "out": (3, 8)},
        {"fc1": (5, 8), "fc2": (5, 5), "fc3": (3, 5)},
        {"attention": (1, 8)},
        {"classifier": (3, 8, 1)},
    ],
    ids=["two heads", "three layers", "attention alone", "convolution"],
)
def test_another_head_is_refused_by_its_names(layers: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(CheckpointError, match=f"file: .* no known .*{next(iter(layers))}.weight"):
        recognise(state("bert.", **layers), "file")


def read(layers: dict[str, tuple[int, int]], named: Named | None = None) -> dict[str, str]:
    """Our parts and the layers that they are."""
    recognised = recognise(state("bert.", **layers), "file", named)
    return {ours: theirs for theirs, ours in recognised.layers.items()}


ATTENDED = {"attention.out": "attn", "classifier": "b"}
INNER = {"attention.dense": "pool.0", "attention.out": "pool.2", "fc": "a", "classifier": "b"}
ONE_READING: list[tuple[dict[str, tuple[int, int]], Named | None, dict[str, str]]] = [
    ({"a": (8, 8), "b": (3, 8)}, None, {"fc": "a", "classifier": "b"}),  # as wide as the encoder
    ({"b": (3, 3), "a": (3, 8)}, None, {"fc": "a", "classifier": "b"}),  # as many units as labels
    ({"b": (1, 5), "a": (5, 8)}, None, {"fc": "a", "classifier": "b"}),  # one label
    ({"a": (8, 8), "b": (1, 8)}, None, {"fc": "a", "classifier": "b"}),  # one label, no attention
    ({"attn": (1, 8), "b": (1, 8)}, None, ATTENDED),
    ({"attn": (1, 8), "b": (8, 8)}, None, ATTENDED),  # as many labels as hidden units
    ({"pool.0": (5, 8), "pool.2": (1, 5), "a": (5, 8), "b": (1, 5)}, None, INNER),
    ({"b": (1, 8)}, None, {"classifier": "b"}),
    ({"fc1": (3, 8)}, Named(linear="fc1"), {"classifier": "fc1"}),
    ({"attention": (1, 8)}, Named(linear="attention"), {"classifier": "attention"}),
    ({"w": (1, 8), "b": (3, 8)}, Named(attention=("w",)), {"attention.out": "w", "classifier": "b"}),
    ({"w": (1, 8), "b": (3, 8)}, Named(attends=True), {"attention.out": "w", "classifier": "b"}),
    ({"topic": (3, 8), "mood": (2, 8)}, Named(linear="mood"), {"classifier": "mood"}),
    ({"fc": (5, 8), "topic": (3, 5), "mood": (2, 5)}, Named(linear="mood"), {"fc": "fc", "classifier": "mood"}),
    ({"a": (8, 8), "b": (8, 8)}, Named(dense="b"), {"fc": "b", "classifier": "a"}),
    (
        {"v": (5, 8), "w": (1, 5), "b": (3, 8)},
        Named(attention=("v", "w")),
        {"attention.dense": "v", "attention.out": "w", "classifier": "b"},
    ),
]


@pytest.mark.parametrize(("layers", "named", "expected"), ONE_READING)
def test_layers_of_one_reading(
    layers: dict[str, tuple[int, int]], named: Named | None, expected: dict[str, str]
) -> None:
    assert read(layers, named) == expected


@pytest.mark.parametrize(
    ("layers", "ways"),
    [
        ({"topic": (3, 8), "mood": (2, 8)}, ["--linear topic", "--linear mood"]),
        ({"score": (1, 8), "topic": (3, 8)}, ["--attention score --linear topic", "--linear score"]),
        ({"a": (8, 8), "b": (8, 8)}, ["--dense a --linear b", "--dense b --linear a"]),
        ({"fc1": (3, 8)}, ["--linear fc1"]),  # without a second?
        ({"attention": (1, 8)}, ["--linear attention"]),
        ({"fc": (5, 8), "topic": (3, 5), "mood": (2, 5)}, ["--dense fc --linear mood"]),
        ({"att1": (1, 8), "att2": (1, 8), "b": (3, 8)}, ["--attention att1", "--attention att2"]),
    ],
    ids=[
        "two tasks",
        "a number and classes",
        "square",
        "first of two",
        "attention alone",
        "shared dense",
        "two attentions",
    ],
)
def test_layers_of_several_readings_are_listed(layers: dict[str, tuple[int, int]], ways: list[str]) -> None:
    with pytest.raises(CheckpointError) as refused:
        read(layers)
    assert all(way in str(refused.value) for way in ways), str(refused.value)


BEFORE: dict[str, tuple[int, ...]] = {"lin.weight": (3, 8), "lin.bias": (3,)}


@pytest.mark.parametrize(
    "more",
    [
        {"norm.weight": (8,), "norm.bias": (8,)},
        {"bn.running_mean": (8,), "bn.num_batches_tracked": ()},
        {"lstm.weight_ih_l0": (32, 8), "lstm.weight_hh_l0": (32, 8)},
        {"mha.in_proj_weight": (24, 8)},
        {"temperature": (1,)},
        {"scale.weight": (1,)},
        {"loss.prototypes": (3, 8)},
    ],
    ids=["LayerNorm", "BatchNorm", "LSTM", "multi-head attention", "temperature", "scale", "weights of a loss"],
)
def test_what_has_no_place_is_refused_by_name(more: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(CheckpointError, match=f"not expected: .*{next(iter(more))}"):
        recognise({**state("bert."), **BEFORE, **more}, "file")


@pytest.mark.parametrize(
    "name",
    [
        "loss_fn.pos_weight",
        "criterion.weight",
        "loss.weight",
        "pos_weight",
        "class_weights",
        "val_metric.total",
        "val_f1.tp",
    ],
)
def test_what_no_prediction_depends_on_is_left_out_and_said(name: str) -> None:
    recognised = recognise({**state("net.bert."), **BEFORE, name: (3,)}, "file")
    assert recognised.left_out == (name,)
    assert recognised.layers == {"lin": "classifier"}


def test_one_of_several_encoders_has_to_be_named() -> None:
    shapes = {**state("student."), **state("teacher."), **BEFORE}
    with pytest.raises(CheckpointError, match=r"several encoders: student\., teacher\.; .* --encoder"):
        recognise(shapes, "file")
    recognised = recognise(shapes, "file", Named(encoder="student"))
    assert recognised.encoder == "student."
    assert set(recognised.left_out) == set(state("teacher."))


@pytest.mark.parametrize(
    "name", ["bert.encoder.layer.0.attention.self.query.lora_A.default.weight", "base_model.model.classifier.weight"]
)
def test_an_adapter_is_called_that(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"adapter \(LoRA\).*merge_and_unload"):
        recognise({**state("bert."), name: (3, 8)}, "file")


@pytest.mark.parametrize(
    "layer",
    [
        "_orig_mod.",
        "_fsdp_wrapped_module.",
        "_checkpoint_wrapped_module.",
        "_fsdp_wrapped_module._checkpoint_wrapped_module.",
    ],
)
def test_wrappers_within_names_are_seen_through(layer: str) -> None:
    names = {
        f"{layer}bert.{layer}{name}".replace("encoder.", f"encoder.{layer}"): shape for name, shape in ENCODER.items()
    }
    recognised = recognise({**names, f"{layer}out.weight": (3, 8), f"{layer}out.bias": (3,)}, "f")
    assert recognised.layers == {"out": "classifier"}
    ours = [recognised.rename(name) for name in names]
    assert ours == [f"bert.{name}" for name in ENCODER]
    assert recognised.rename(f"{layer}out.weight") == "classifier.weight"


def test_names_are_those_within_the_module_that_has_the_encoder() -> None:
    """A model called attention_model does not make all its layers attentions, and nobody has to write its name."""
    shapes = state("attention_model.bert.", **{"attention_model.fc": (5, 8), "attention_model.b": (3, 5)})
    assert recognise(shapes, "file").layers == {
        "attention_model.fc": "fc",
        "attention_model.b": "classifier",
    }
    shapes = state("module.bert.", **{"module.a": (3, 8), "module.b": (3, 8)})
    recognised = recognise(shapes, "file", Named(encoder="bert", linear="b"))
    assert recognised.layers == {"module.b": "classifier"}
