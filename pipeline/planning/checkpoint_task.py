"""Which task a job is: the checkpoint's head decides, the job file says what the head can't know."""

from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.config.label import TaskSettings
from pipeline.errors import CheckpointError, ConfigError
from pipeline.tasks.classification import Classification
from pipeline.tasks.embedding import Embedding
from pipeline.tasks.question_answering import QuestionAnswering
from pipeline.tasks.task import Task
from pipeline.tasks.token_classification import TokenClassification
from pipeline.terms import Aggregation
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy

SETTING_OF = {
    "questions": "question_answering",
    "no_answer_threshold": "question_answering",
    "min_score": "token_classification",
}


def make_task(settings: TaskSettings, checkpoint: CheckpointFolder, aggregation: Aggregation) -> Task:
    """Makes the task that the checkpoint's head is for.

    Raises:
        ConfigError: settings that this head has no use for, or that it needs and are missing.
        CheckpointError: a head that no table is made of.
    """
    head, decision = checkpoint.head, checkpoint.decision
    for name, field in TaskSettings.model_fields.items():
        if getattr(settings, name) != field.default and SETTING_OF[name] != head.task:
            raise ConfigError(
                f"task.{name}: the checkpoint {checkpoint.path} is for {head.task}, and only {SETTING_OF[name]} has "
                "it; remove it"
            )
    match head.task:
        case "classification":
            return Classification(
                head.problem_type,
                head.labels,
                decision.thresholds,
                decision.temperature,
                aggregation,
            )
        case "embedding":
            return Embedding(head.outputs(checkpoint.encoder), aggregation)
        case "token_classification":
            if head.problem_type != "single_label":
                raise CheckpointError(
                    f"{checkpoint.path}: its head labels tokens, and its problem_type is {head.problem_type}; "
                    "expected single_label"
                )
            return TokenClassification(head.labels, decision.temperature, settings.min_score)
        case "question_answering":
            if not settings.questions:
                raise ConfigError(
                    f"task.questions: missing; the checkpoint {checkpoint.path} answers questions: list at least one"
                )
            return QuestionAnswering(settings.questions, settings.no_answer_threshold, decision.temperature)
    raise CheckpointError(
        f"{checkpoint.path}: its task is {head.task}, of which no table is made; expected classification, "
        "token_classification, question_answering or embedding"
    )


def check_questions(task: Task, checkpoint: CheckpointFolder, tokenizer: Tokenizer, policy: WindowPolicy) -> None:
    """Checks the task's questions against the tokenizer and the windows.

    Raises:
        ConfigError: a question is empty, or leaves a window no room for the document.
        CheckpointError: head and tokenizer differ about [SEP].
    """
    separator = checkpoint.head.sep_token_id
    if separator is not None and separator != tokenizer.sep_id:
        raise CheckpointError(
            f"{checkpoint.path}: config.json has sep_token_id {separator}; expected {tokenizer.sep_id}, the "
            "tokenizer's [SEP]"
        )
    longest = min(policy.body // 2, policy.body - policy.overlap - 1) - 1  # without its [SEP]
    for question, ids in zip(task.questions, tokenizer.encode(list(task.questions)), strict=True):
        if not 1 <= len(ids) <= longest:
            raise ConfigError(
                f"task.questions: {question!r} has {len(ids)} tokens; expected from 1 to {longest}, so that "
                f"windows of {policy.max_tokens} tokens have room for the document: shorten it, or raise "
                "text.max_tokens"
            )
