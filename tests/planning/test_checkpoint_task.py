"""A checkpoint's head and a job's settings -> the task, and what is refused of either."""

import json
from dataclasses import replace
from typing import Any

import pytest
import sentencepiece

from jobs.sample import CHECKPOINT
from pipeline.bigbird.model_config import HeadConfig
from pipeline.checkpoints.config import DecisionConfig
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.config.label import TaskSettings
from pipeline.errors import CheckpointError, ConfigError
from pipeline.planning.checkpoint_task import check_questions, make_task
from pipeline.tasks.classification import Classification
from pipeline.tasks.embedding import Embedding
from pipeline.tasks.question_answering import QuestionAnswering
from pipeline.tasks.task import Task
from pipeline.tasks.token_classification import TokenClassification
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy

SAMPLE = CheckpointFolder.open(CHECKPOINT)
TOKENIZER = Tokenizer.open(CHECKPOINT)
PIECES = sentencepiece.SentencePieceProcessor(model_file=str(CHECKPOINT / "spiece.model"))
LABELS = ("rook", "jackdaw")
HEADS = {
    "classification": HeadConfig("mean", "dense", "multi_label", LABELS),
    "embedding": HeadConfig("mean", "none", "single_label", ()),
    "token_classification": HeadConfig("tokens", "linear", "single_label", LABELS),
    "question_answering": HeadConfig(
        "tokens", "question_answering", "single_label", ("start", "end"), sep_token_id=PIECES.piece_to_id("[SEP]")
    ),
    "masked_lm": HeadConfig("tokens", "masked_lm", "single_label", ()),
}
# of each setting a value that is not its default, and the task that has it
SETTINGS: dict[str, tuple[object, str]] = {
    "questions": (("Who wrote it?",), "question_answering"),
    "no_answer_threshold": (-3.0, "question_answering"),
    "min_score": (0.8, "token_classification"),
}


def folder(task: str, **head: Any) -> CheckpointFolder:
    """The sample's folder, as if its head were for `task`; a task reads no weights."""
    decision = DecisionConfig(thresholds={"rook": 0.3}, temperature=2.0)
    return replace(SAMPLE, head=replace(HEADS[task], **head), decision=decision)


@pytest.mark.parametrize(
    ("name", "settings", "task"),
    [
        ("classification", {}, Classification("multi_label", LABELS, {"rook": 0.3}, 2.0, "max")),
        (
            "embedding",
            {},
            Embedding(json.loads((CHECKPOINT / "config.json").read_text())["hidden_size"], "max"),
        ),
        ("token_classification", {"min_score": 0.8}, TokenClassification(LABELS, 2.0, 0.8)),
        (
            "question_answering",
            {"questions": ("Who?", "When?"), "no_answer_threshold": -3.0},
            QuestionAnswering(("Who?", "When?"), -3.0, 2.0),
        ),
    ],
)
def test_the_head_decides_the_task(name: str, settings: dict[str, Any], task: Task) -> None:
    assert make_task(TaskSettings(**settings), folder(name), "max") == task


def test_every_setting_is_tried_below() -> None:
    assert set(SETTINGS) == set(TaskSettings.model_fields)


@pytest.mark.parametrize(
    ("setting", "task"), [(setting, task) for setting in SETTINGS for task in HEADS if SETTINGS[setting][1] != task]
)
def test_a_setting_of_another_task_is_refused_by_its_name(setting: str, task: str) -> None:
    value, owner = SETTINGS[setting]
    with pytest.raises(ConfigError, match=rf"^task\.{setting}: .* is for {task}, and only {owner} has it; remove it$"):
        make_task(TaskSettings(**{setting: value}), folder(task), "mean")  # type: ignore[arg-type]


def test_a_setting_that_says_its_default_is_no_setting() -> None:
    defaults = {name: field.default for name, field in TaskSettings.model_fields.items()}
    assert make_task(TaskSettings(**defaults), folder("embedding"), "mean") == Embedding(
        SAMPLE.encoder.hidden_size, "mean"
    )


def test_a_head_that_answers_questions_needs_some() -> None:
    with pytest.raises(ConfigError, match=r"^task\.questions: missing; the checkpoint .* list at least one$"):
        make_task(TaskSettings(), folder("question_answering"), "mean")


def test_a_head_that_no_table_is_made_of_is_refused() -> None:
    with pytest.raises(CheckpointError, match="task is masked_lm, of which no table is made; expected classification"):
        make_task(TaskSettings(), folder("masked_lm"), "mean")


@pytest.mark.parametrize("problem_type", ["multi_label", "binary", "regression"])
def test_a_token_has_one_label(problem_type: str) -> None:
    with pytest.raises(CheckpointError, match=f"labels tokens, and its problem_type is {problem_type}; expected sin"):
        make_task(TaskSettings(), folder("token_classification", problem_type=problem_type), "mean")


def ask(question: str, policy: WindowPolicy) -> None:
    check_questions(QuestionAnswering((question,)), folder("question_answering"), TOKENIZER, policy)


def question_of(n_tokens: int) -> str:
    question = " ".join(["one"] * n_tokens)
    assert len(PIECES.encode(question)) == n_tokens
    return question


@pytest.mark.parametrize(
    ("max_tokens", "overlap", "longest"),
    [
        (16, 1, 6),  # half of the 14 tokens between [CLS] and [SEP], with the question's own [SEP]
        (16, 10, 2),  # 14 - 3 leaves 11 of the document in a window, of which 10 are the next one's too
    ],
)
def test_a_question_leaves_every_window_room_for_the_document(max_tokens: int, overlap: int, longest: int) -> None:
    policy = WindowPolicy(max_tokens, "windows", overlap)
    ask(question_of(longest), policy)
    assert replace(policy, question_tokens=longest + 1).body >= 1
    with pytest.raises(
        ConfigError, match=rf"^task\.questions: .* has {longest + 1} tokens; expected from 1 to {longest}"
    ):
        ask(question_of(longest + 1), policy)


def test_a_blank_question_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^task\.questions: ' ' has 0 tokens; expected from 1 to 2046"):
        ask(" ", WindowPolicy())


def test_a_separator_that_is_not_the_tokenizer_s_is_refused() -> None:
    sep = PIECES.piece_to_id("[SEP]")
    checkpoint = folder("question_answering", sep_token_id=sep + 1)
    with pytest.raises(CheckpointError, match=f"has sep_token_id {sep + 1}; expected {sep}, the tokenizer's"):
        check_questions(QuestionAnswering(("Who?",)), checkpoint, TOKENIZER, WindowPolicy())
