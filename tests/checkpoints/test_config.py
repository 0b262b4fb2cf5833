from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.bigbird.model_config import HeadConfig
from pipeline.checkpoints.config import (
    DecisionConfig,
    WindowConfig,
    encoder_keys,
    head_keys,
    read_decision,
    read_encoder,
    read_head,
    read_windows,
    rookery_keys,
)
from pipeline.checkpoints.json_file import JsonFile
from pipeline.errors import CheckpointError
from tests.bigbird.configs import HEAD, encoder_config

BIGBIRD = {"model_type": "big_bird"}


def config_file(**values: Any) -> JsonFile:
    return JsonFile(Path("folder/config.json"), BIGBIRD | values)


def rookery_file(**values: Any) -> JsonFile:
    return JsonFile(Path("folder/rookery.json"), values)


def test_what_a_folder_leaves_out_is_bigbird_base() -> None:
    config = read_encoder(config_file())
    assert (config.layers, config.hidden_size, config.heads) == (12, 768, 12)
    assert (config.block_size, config.random_blocks, config.max_positions) == (64, 3, 4096)
    assert (config.attention_type, config.activation) == ("block_sparse", "gelu_tanh")
    assert config.full_attention_limit == 704


def test_full_attention_has_no_limit_but_the_positions() -> None:
    assert encoder_config(attention_type="original_full").full_attention_limit == 4096


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("gelu_new", "gelu_tanh"),
        ("gelu_fast", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("gelu", "gelu_erf"),
        ("relu", "relu"),
    ],
)
def test_activations(name: str, activation: str) -> None:
    assert read_encoder(config_file(hidden_act=name)).activation == activation


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert"}, "model_type is 'bert'; expected 'big_bird'"),
        (
            {"model_type": "longformer", "architectures": ["LongformerModel"]},
            "model_type is 'longformer'; expected 'big_bird': LongformerModel cannot be run, but "
            "BigBirdForSequenceClassification, .* BigBirdModel",
        ),
        ({"is_decoder": True}, "is_decoder is True; expected false: .* BigBirdModel"),
        ({"add_cross_attention": True}, "add_cross_attention is True; expected false"),
        ({"hidden_size": 0}, "hidden_size is 0; expected a whole number of at least 1"),
        ({"hidden_size": True}, "hidden_size is True; expected a whole number"),
        ({"num_attention_heads": 7}, "num_attention_heads is 7; expected a divisor of hidden_size"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'; expected one of gelu_new"),
        ({"attention_type": "sliding"}, "attention_type is 'sliding'; expected one of"),
        ({"use_bias": "yes"}, "use_bias is 'yes'; expected true or false"),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps is 'tiny'; expected a number"),
        ({"num_random_blocks": 0}, "num_random_blocks is 0; expected"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_encoder_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"folder/config.json: {message}"):
        read_encoder(config_file(**values))


@pytest.mark.parametrize("activation", ["gelu_tanh", "gelu_erf", "relu"])
def test_an_encoder_survives_its_json(activation: str) -> None:
    config = encoder_config(activation=activation, use_bias=False, block_size=16)
    assert read_encoder(config_file(**encoder_keys(config))) == config


@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        replace(HEAD, pooling="mean", head="linear", problem_type="multi_label"),
        replace(HEAD, pooling="attention", attention_size=8, head="dense", dense_size=16),
        replace(HEAD, pooling="tokens", head="linear"),
        HeadConfig("tokens", "question_answering", "single_label", ("start", "end"), sep_token_id=7),
        HeadConfig("tokens", "masked_lm", "single_label", ()),
        HeadConfig("cls", "linear", "binary", ("ham", "spam")),
        HeadConfig("mean", "none", "regression", ()),
        HeadConfig("pooler", "none", "regression", ()),
    ],
    ids=lambda head: f"{head.pooling} {head.head}",
)
def test_a_head_survives_its_json(head: HeadConfig) -> None:
    config, rookery = config_file(**head_keys(head)), rookery_file(**rookery_keys(head))
    assert read_head(config, rookery) == head


@pytest.mark.parametrize(
    ("architecture", "rookery", "task"),
    [
        ("BigBirdForSequenceClassification", {}, "classification"),
        ("BigBirdForTokenClassification", {}, "token_classification"),
        ("BigBirdForQuestionAnswering", {}, "question_answering"),
        ("BigBirdForMaskedLM", {}, "masked_lm"),
        ("BigBirdForPreTraining", {}, "masked_lm"),
        ("BigBirdModel", {}, "embedding"),
        ("BigBirdForPreTraining", {"pooling": "cls", "head": "none"}, "embedding"),
        ("OurClassifier", {"pooling": "max", "head": "linear"}, "classification"),
    ],
)
def test_the_task_is_that_of_the_class_unless_rookery_json_says_more(
    architecture: str, rookery: dict[str, Any], task: str
) -> None:
    config = config_file(architectures=[architecture])
    assert read_head(config, rookery_file(**rookery)).task == task


BINARY = {"problem_type": "binary", "labels": ["ham", "spam"]}


def test_a_binary_problem_has_one_output_and_two_labels() -> None:
    head = read_head(config_file(id2label={"0": "LABEL_0"}), rookery_file(**BINARY))
    assert (head.problem_type, head.labels) == ("binary", ("ham", "spam"))
    assert head.outputs(encoder_config()) == 1
    assert head_keys(head)["id2label"] == {"0": "spam"}  # for transformers, which knows one
    for said in ({"ham": 0, "spam": 0.7}, {"spam": 0.7}):
        assert read_decision(rookery_file(thresholds=said), head).thresholds == said
    with pytest.raises(CheckpointError, match=r"thresholds.spam is None; .*the second one's threshold decides"):
        read_decision(rookery_file(thresholds={"ham": 0.3}), head)


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [(2, ["ham", "spam"]), (1, ["spam"]), (1, ["a", "b", "c"])],
    ids=["two outputs", "one label", "three labels"],
)
def test_a_binary_problem_with_other_outputs_or_labels_is_refused(outputs: int, labels: list[str]) -> None:
    rookery = rookery_file(**(BINARY | {"labels": labels}))
    with pytest.raises(CheckpointError, match="expected two labels, below the threshold and above"):
        read_head(config_file(num_labels=outputs), rookery)


def test_how_many_outputs_each_head_has() -> None:
    encoder = encoder_config()
    assert HEAD.outputs(encoder) == len(HEAD.labels)
    assert HeadConfig("mean", "none", "regression", ()).outputs(encoder) == encoder.hidden_size
    masked = HeadConfig("tokens", "masked_lm", "single_label", ())
    assert masked.outputs(encoder) == encoder.vocab_size


def test_labels_are_ordered_by_id_not_by_place() -> None:
    names = {str(i): f"label {i}" for i in reversed(range(11))}
    head = read_head(config_file(id2label=names), rookery_file())
    assert head.labels == tuple(f"label {i}" for i in range(11))


def test_labels_of_rookery_json_win() -> None:
    names = {"0": "LABEL_0", "1": "LABEL_1"}
    head = read_head(config_file(id2label=names), rookery_file(labels=["no", "yes"]))
    assert head.labels == ("no", "yes")


def test_without_labels_transformers_names_two() -> None:
    assert read_head(config_file(), rookery_file()).labels == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    ("config", "rookery", "expected"),
    [
        ({"num_labels": 1}, {}, "regression"),
        ({"num_labels": 3}, {}, "single_label"),
        ({"problem_type": "single_label_classification"}, {}, "single_label"),
        ({"problem_type": "multi_label_classification"}, {}, "multi_label"),
        ({"problem_type": "regression", "num_labels": 1}, {}, "regression"),
        ({"problem_type": "regression"}, {"problem_type": "multi_label"}, "multi_label"),
    ],
    ids=["one output", "three outputs", "single", "multi", "regression", "rookery.json wins"],
)
def test_problem_type(config: dict[str, Any], rookery: dict[str, Any], expected: str) -> None:
    head = read_head(config_file(**config), rookery_file(**rookery))
    assert head.problem_type == expected


@pytest.mark.parametrize(
    ("config", "rookery", "message"),
    [
        ({"problem_type": "regression"}, {}, "the head has 2 outputs; expected one"),
        ({}, {"attention_size": 8}, "attention_size is 8; expected none, because pooling is 'cls'"),
        ({}, {"pooling": "tokens", "head": "none"}, "no use for the pooling 'tokens'; expected an"),
        ({}, {"head": "masked_lm"}, "no use for the pooling 'cls'; expected tokens"),
        ({"architectures": ["BigBirdModel"]}, {"labels": ["a"]}, "expected none, because head is"),
        (
            {"architectures": ["BigBirdForCausalLM"]},
            {},
            r"architectures is \['BigBirdForCausalLM'\]; expected one of BigBirdForSequence.*Model",
        ),
        ({"architectures": "BigBirdModel"}, {}, "architectures is 'BigBirdModel'; expected one of"),
        ({}, {"dense_size": 8}, "dense_size is 8; expected none, because head is 'bigbird'"),
        ({}, {"head": "dense", "dense_size": 0}, "dense_size is 0; expected a whole number"),
        ({}, {"pooling": "max_pool"}, "pooling is 'max_pool'; expected one of cls, pooler"),
        ({}, {"head": "big"}, "head is 'big'; expected one of bigbird"),
        ({}, {"problem_type": "ranking"}, "problem_type is 'ranking'; expected one of"),
        ({}, {"labels": ["one"]}, "expected 2 labels"),
        ({}, {"labels": ["one", "one"]}, "labels that differ"),
        ({}, {"labels": ["one", ""]}, "not empty"),
        ({}, {"labels": "one, two"}, "expected a list"),
        ({"id2label": {"0": "a", "2": "b"}}, {}, "id2label is .* expected an object"),
        ({"id2label": ["a", "b"]}, {}, "id2label is .* expected an object"),
        ({"problem_type": "ranking"}, {}, "problem_type is 'ranking'; expected one of"),
        (
            {"num_labels": 1, "problem_type": "single_label_classification"},
            {},
            "'LABEL_0' is the only label",
        ),
    ],
)
def test_a_head_that_cannot_be_is_refused(config: dict[str, Any], rookery: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_head(config_file(**config), rookery_file(**rookery))


@pytest.mark.parametrize(
    "thresholds",
    [{"rook": 0.1, "jackdaw": 1, "crow": 0.3}, {"crow": 0, "rook": 0.1}, {"crow": 0.3}, {}],
    ids=["all", "some", "one", "none"],
)
def test_labels_have_the_thresholds_that_they_are_given(thresholds: dict[str, float]) -> None:
    file = rookery_file(thresholds=thresholds, temperature=2)
    assert read_decision(file, HEAD) == DecisionConfig(thresholds, 2.0)


def test_null_is_no_threshold() -> None:
    assert read_decision(rookery_file(), HEAD) == DecisionConfig({}, 1.0)
    file = rookery_file(thresholds={"crow": None, "rook": 0.1})
    assert read_decision(file, HEAD).thresholds == {"rook": 0.1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thresholds": {"raven": 0.5}}, "unknown key 'thresholds.raven'; expected rook, jackdaw"),
        ({"thresholds": {"rook": 1.5}}, "thresholds.rook is 1.5; expected a probability"),
        ({"thresholds": [0.5, 0.5, 0.5]}, "thresholds is .* expected an object"),
        ({"temperature": 0}, "temperature is 0; expected a number above 0"),
        ({"temperature": float("nan")}, "temperature is nan; expected a finite number"),
    ],
    ids=["unknown label", "above 1", "list", "temperature 0", "temperature nan"],
)
def test_a_decision_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"folder/rookery.json: {message}"):
        read_decision(rookery_file(**values), HEAD)


def test_a_regression_has_no_thresholds() -> None:
    head = HeadConfig("cls", "bigbird", "regression", ("price",))
    with pytest.raises(CheckpointError, match="a regression decides nothing"):
        read_decision(rookery_file(thresholds={"price": 0.5}), head)


def test_only_labels_have_thresholds() -> None:
    head = HeadConfig("tokens", "masked_lm", "single_label", ())
    with pytest.raises(CheckpointError, match="expected none, because the task is masked_lm"):
        read_decision(rookery_file(thresholds={}), head)


def test_windows() -> None:
    file = rookery_file(windows={"max_tokens": 2048, "long_documents": "head", "overlap": 0, "aggregation": "max"})
    expected = WindowConfig(2048, "head", 0, "max")
    assert read_windows(file, encoder_config()) == expected


def test_without_windows_nothing_is_said() -> None:
    expected = WindowConfig(None, None, None, None)
    assert read_windows(rookery_file(), encoder_config()) == expected


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ({"max_tokens": 4097}, "windows.max_tokens is 4097; expected at most the encoder's 4096"),
        ({"max_tokens": 2}, "windows.max_tokens is 2; expected a whole number of at least 3"),
        ({"overlap": -1}, "windows.overlap is -1; expected"),
        ({"long_documents": "tail"}, "windows.long_documents is 'tail'; expected one of windows"),
        ({"aggregation": "median"}, "windows.aggregation is 'median'; expected one of mean"),
        ({"stride": 64}, "unknown key 'windows.stride'; expected max_tokens, long_documents"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_windows_that_cannot_be_are_refused(windows: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"folder/rookery.json: {message}"):
        read_windows(rookery_file(windows=windows), encoder_config())
