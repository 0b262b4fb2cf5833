"""Label, join, fit, measure, store, write.

Documents are labelled by the same pipeline as in `rookery label` and their logits are kept in the same fragments, so
that a second evaluation computes nothing, and a crash costs the units in flight.
"""

from pathlib import Path

from jobs.evaluation_outcome import EvaluationOutcome, outcome_notes, write_outcome
from jobs.label_work import check_checkpoint, label_missing, running
from jobs.terminal import evaluate_output
from pipeline.checkpoints.decision import ROOKERY_JSON, with_decision
from pipeline.checkpoints.folder import CheckpointFolder
from pipeline.config.evaluate import EvaluationJob
from pipeline.config.label import TextSettings
from pipeline.corpus.overlaps import check_apart
from pipeline.errors import CheckpointError, ConfigError, ErrorBudgetError
from pipeline.evaluation.fit import Fit, fit_decision
from pipeline.evaluation.measure import evaluate_classification
from pipeline.evaluation.metrics import measure_regression
from pipeline.evaluation.scored_documents import check_measurable
from pipeline.planning.labelled_scores import Joined, join
from pipeline.planning.plan import Plan, check_table_writable, make_plan
from pipeline.planning.scoring import window_policy
from pipeline.planning.splits import Split, Splits, classification, only, read_splits
from pipeline.storage.objects import Storage
from pipeline.tables.error_budget import ErrorBudget


def run_evaluation(job: EvaluationJob, *, fitting: bool = False) -> EvaluationOutcome:
    """Labels what has no logits yet, fits if asked to, measures, writes; shows each on the terminal."""
    storage, output = Storage(job.storage), job.evaluation.output
    check_apart(storage, {"corpus.uris": job.corpus}, {"evaluation.output": output}, job.checkpoint)
    plan = make_plan(job)
    if fitting:
        check_can_fit(job, plan)
    settings = job.evaluation
    fitted = settings.validation if fitting else None
    splits = read_splits(plan, job.corpus, settings.test, fitted)
    plan = only(plan, splits.all)
    evaluate_output.print_evaluation_plan(plan, splits)
    plan.sweep()
    check_checkpoint(plan)
    check_table_writable(plan)
    storage.check_writable(output, f"evaluation.output {output}")
    if fitting:
        path = str(plan.checkpoint.path)
        storage.check_writable(path, f"checkpoint.uri {path}, where --fit stores what it fits")
    if plan.missing:
        with running([plan]) as (runs, _):
            label_missing([plan], runs)
    outcome = measure_split(job, plan, splits, fit_split(plan, splits.fitted) if splits.fitted else None)
    if outcome.fit:
        store_decision(plan, outcome.fit)
    write_outcome(outcome)
    evaluate_output.print_figures(outcome, outcome_notes(outcome))
    return outcome


def check_can_fit(job: EvaluationJob, plan: Plan) -> None:
    """Raises ConfigError where nothing can be fitted or stored, before anything is computed."""
    settings, uri = job.evaluation, job.checkpoint.uri
    if classification(plan).problem_type == "regression":
        raise ConfigError(
            "--fit: this checkpoint is a regression, which has neither temperature nor thresholds; leave it out"
        )
    if job.corpus.split_column is None:
        raise ConfigError(
            "corpus.split_column: missing; --fit needs a validation split beside the documents that are measured"
        )
    if settings.validation == settings.test:
        raise ConfigError(
            f"evaluation.validation {settings.validation!r}: is evaluation.test too; expected another split, "
            "because what is fitted on the documents that are measured looks better than it is"
        )
    if not Path(uri.removeprefix("file://")).is_dir():
        raise ConfigError(
            f"checkpoint.uri {uri}: --fit stores what it fits in {ROOKERY_JSON}, and can do so in a local folder only; "
            "copy the checkpoint to one"
        )


def fit_split(plan: Plan, split: Split) -> Fit:
    """Fits the plan's task to a split whose units have fragments. Raises CorpusError."""
    examples = join(plan, split).examples
    check_measurable(examples, classification(plan).problem_type, split.title)
    return fit_decision(classification(plan), examples)


def measure_split(job: EvaluationJob, plan: Plan, splits: Splits, fitted: Fit | None) -> EvaluationOutcome:
    """Measures the documents of a split whose units have fragments. Raises CorpusError, ErrorBudgetError."""
    joined = join(plan, splits.measured)
    check_error_budget(job, joined)
    task = fitted.task if fitted else classification(plan)
    check_measurable(joined.examples, task.problem_type, splits.measured.title)
    checkpoint_policy = window_policy(TextSettings(), plan.checkpoint.windows, plan.checkpoint.encoder.max_positions)
    return EvaluationOutcome(
        job=job,
        plan=plan,
        splits=splits,
        joined=joined,
        fit=fitted,
        own_windows=plan.scoring.policy == checkpoint_policy,
        evaluation=measure_regression(joined.examples)
        if task.problem_type == "regression"
        else evaluate_classification(task, joined.examples),
    )


def check_error_budget(job: EvaluationJob, joined: Joined) -> None:
    """Raises ErrorBudgetError where more documents failed than `max_errors` allows."""
    failed = joined.failed.total()
    if excess := ErrorBudget(job.max_errors).excess(failed, failed + len(joined.examples)):
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in joined.failed.most_common())
        raise ErrorBudgetError(f"{excess}: {reasons}; repair them or raise max_errors")


def store_decision(plan: Plan, fitted: Fit) -> None:
    """Replaces the checkpoint's rookery.json. The decision key changes, the scoring key does not."""
    folder, task = plan.checkpoint.path, fitted.task
    if CheckpointFolder.open(folder).weights_digest() != plan.scoring.weights_digest:
        raise CheckpointError(f"{folder}: replaced after this run was planned; run again")
    plan.storage.put(str(folder / ROOKERY_JSON), with_decision(folder, task.thresholds, task.temperature))
