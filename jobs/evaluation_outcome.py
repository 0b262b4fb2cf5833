"""What `rookery evaluate` leaves behind: metrics.json for programs, report.html for people."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from pipeline.config.evaluate import EvaluationJob
from pipeline.evaluation.fit import Fit
from pipeline.evaluation.html_page import Heading
from pipeline.evaluation.html_report import classification_report, regression_report
from pipeline.evaluation.measure import Evaluation
from pipeline.evaluation.metrics import RegressionMetrics
from pipeline.planning.labelled_scores import Joined
from pipeline.planning.plan import Plan
from pipeline.planning.splits import Split, Splits, classification, in_words
from pipeline.tasks.classification import Classification

METRICS_VERSION = 2  # of metrics.json: raise it when a field changes its meaning


@dataclass(frozen=True, slots=True)
class EvaluationOutcome:
    """What was measured on what. `own_windows`: long documents were cut as the checkpoint itself wants it."""

    job: EvaluationJob
    plan: Plan
    splits: Splits
    joined: Joined
    fit: Fit | None
    own_windows: bool
    evaluation: Evaluation | RegressionMetrics

    @property
    def split(self) -> Split:
        """The split that was measured."""
        return self.splits.measured

    @property
    def task(self) -> Classification:
        """The task that decides: what was fitted, or the checkpoint's own."""
        return self.fit.task if self.fit else classification(self.plan)

    def uri(self, name: str) -> str:
        """Names a file of the output folder."""
        return f"{self.job.evaluation.output.rstrip('/')}/{name}"


def write_outcome(outcome: EvaluationOutcome) -> None:
    """Writes metrics.json and report.html into the output folder. Raises StorageError."""
    now = datetime.now(UTC)
    figures = json.dumps(_figures(outcome, now), indent=1, ensure_ascii=False, allow_nan=False)
    put = outcome.plan.storage.put
    put(outcome.uri("metrics.json"), figures.encode() + b"\n")
    put(outcome.uri("report.html"), _report(outcome, now).encode())


def outcome_notes(outcome: EvaluationOutcome) -> list[str]:
    """Lists what people should know before they believe the figures, in whole sentences."""
    return list(_notes(outcome))


def _notes(outcome: EvaluationOutcome) -> Iterator[str]:
    if outcome.fit:
        yield from outcome.fit.notes
        if not outcome.own_windows:
            yield (
                "What was fitted holds for labelling with this section `text`: the checkpoint itself asks for "
                "other windows."
            )
    yield from _left_out(outcome.splits)
    if outcome.split.skipped:
        yield f"{outcome.split.skipped:,} documents have no label and were left out."
    if failed := outcome.joined.failed:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in failed.most_common())
        yield f"{failed.total():,} documents could not be labelled and were left out: {reasons}."
    if outcome.split.astray:
        title = outcome.split.title
        yield f"{outcome.split.astray:,} documents can't be read, so that nobody knows whether they are in {title}."


def _left_out(splits: Splits) -> Iterator[str]:
    if counts := splits.measured.left_out:
        yield f"{counts.total():,} documents were left out, because the checkpoint knows them: {in_words(counts)}."
    if splits.fitted and (counts := splits.fitted.left_out):
        title = splits.fitted.title
        yield f"{counts.total():,} documents of {title} were left out of what was fitted: {in_words(counts)}."
    if splits.untold:
        yield (
            f"Nobody knows all that the checkpoint was trained on, for {splits.untold}: some of these documents "
            f"may be among that, "
            "and then the figures are too good."
        )


def documents_in_words(outcome: EvaluationOutcome) -> str:
    """Says what became of the split's documents; the parts add up."""
    split, measured = outcome.split, len(outcome.joined.examples)
    others = Counter(split.left_out) + Counter(
        {"without a label": split.skipped, "could not be labelled": outcome.joined.failed.total()}
    )
    if not others:
        return f"{measured:,} measured, all of {split.title}"
    return f"{measured:,} measured of {split.documents:,} in {split.title}; the others: {in_words(others)}"


def _figures(outcome: EvaluationOutcome, now: datetime) -> dict[str, Any]:
    evaluation, task, plan = outcome.evaluation, outcome.task, outcome.plan
    figures: dict[str, Any] = {
        "version": METRICS_VERSION,
        "rookery": version("rookery"),
        "evaluated_at": now.isoformat(timespec="seconds"),
        "problem_type": task.problem_type,
        "split": outcome.split.name if outcome.split.column else None,
        # these add up: documents = measured + left_out + unlabelled + failed
        "documents": outcome.split.documents,
        "measured": len(outcome.joined.examples),
        "left_out": _keys(outcome.split.left_out),
        "unlabelled": outcome.split.skipped,
        "failed": dict(outcome.joined.failed),
        "training_documents_known": outcome.splits.untold is None,
        "scoring_key": plan.scoring.key,
        "decision_key": task.key,
        "fit": None,
        "notes": outcome_notes(outcome),
    }
    if outcome.fit:
        assert outcome.splits.fitted is not None
        figures["fit"] = {
            "split": outcome.splits.fitted.name,
            "left_out": _keys(outcome.splits.fitted.left_out),
            "temperature": task.temperature,
            "thresholds": dict(task.thresholds),
        }
    if isinstance(evaluation, RegressionMetrics):
        figures["metrics"] = asdict(evaluation)
    else:
        figures["metrics"] = asdict(evaluation.metrics)
        figures["with_nothing_fitted"] = asdict(evaluation.plain)
    return figures | {"job": outcome.job.model_dump(mode="json")}


def _keys(left_out: Mapping[str, int]) -> dict[str, int]:
    return {reason.replace(" ", "_"): count for reason, count in left_out.items()}


def _report(outcome: EvaluationOutcome, now: datetime) -> str:
    evaluation, examples = outcome.evaluation, outcome.joined.examples
    heading = Heading(
        title=outcome.job.checkpoint.uri.rstrip("/").rpartition("/")[2],
        subtitle=f"{len(examples):,} of {outcome.split.documents:,} documents of {outcome.split.title}",
        notes=outcome_notes(outcome),
        facts=_facts(outcome, now),
    )
    if isinstance(evaluation, RegressionMetrics):
        return regression_report(heading, evaluation, examples)
    return classification_report(heading, evaluation)


def _facts(outcome: EvaluationOutcome, now: datetime) -> dict[str, str]:
    job, plan, task = outcome.job, outcome.plan, outcome.task
    policy = plan.scoring.policy
    facts = {
        "checkpoint": job.checkpoint.uri,
        "corpus": ", ".join(job.corpus.uris),
        "label column": job.corpus.label_column,
        "documents": documents_in_words(outcome),
        "problem type": f"{task.problem_type}, {len(task.labels):,} outputs",
        "windows": f"{policy.long_documents}, at most {policy.max_tokens:,} tokens, overlap {policy.overlap:,}, "
        f"aggregated by {policy.aggregation}",
        "computed in": plan.scoring.dtype,
        "scoring key": plan.scoring.key,
        "decision key": task.key,
        "evaluated": f"{now:%Y-%m-%d %H:%M} UTC by Rookery {version('rookery')}",
    }
    if task.problem_type != "regression":
        origin = f"fitted on {job.evaluation.validation}" if outcome.fit else "the checkpoint's own"
        facts["temperature"] = f"{task.temperature:.4g} ({origin})"
    return facts
