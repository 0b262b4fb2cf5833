"""By names and shapes alone; test_conversion.py computes what is recognised."""

import pytest

from pipeline.bigbird.recognition import (
    ATTENTION,
    ATTENTION_DENSE,
    DENSE,
    LINEAR,
    Recognised,
    Shapes,
    recognise,
)
from pipeline.errors import CheckpointError

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
        recognised.pooling, recognised.attention_size, recognised.head, recognised.dense_size, recognised.outputs,
    )  # fmt: skip


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
    assert (recognised.wrapper, recognised.encoder) == (wrapper, encoder)
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
        {"lstm": (3, 8)},
        {"fc1": (5, 8), "fc2": (5, 5), "fc3": (3, 5)},
        {"attention": (1, 8)},
        {"classifier": (3, 8, 1)},
    ],
    ids=["two heads", "another name", "three layers", "attention alone", "convolution"],
)
def test_another_head_is_refused_by_its_names(layers: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(CheckpointError, match=f"file: .* no known .*{next(iter(layers))}.weight"):
        recognise(state("bert.", **layers), "file")
