"""What `rookery evaluate` leaves behind: metrics.json for programs, report.html for people."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from pipeline.config import EvaluationJob
from pipeline.dataflow.examples import Joined, Split, classification
from pipeline.dataflow.plan import Plan
from pipeline.evaluation.evaluation import Evaluation
from pipeline.evaluation.fit import Fit
from pipeline.evaluation.metrics import RegressionMetrics
from pipeline.evaluation.report import Heading, classification_report, regression_report
from pipeline.tasks.classification import Classification

VERSION = 1  # of metrics.json: raise it when a field changes its meaning


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured on what. `own_windows`: long documents were cut as the checkpoint itself wants it."""

    job: EvaluationJob
    plan: Plan
    split: Split
    joined: Joined
    fit: Fit | None
    own_windows: bool
    found: Evaluation | RegressionMetrics

    @property
    def task(self) -> Classification:
        return self.fit.task if self.fit else classification(self.plan)

    def uri(self, name: str) -> str:
        return f"{self.job.evaluation.output.rstrip('/')}/{name}"


def write(outcome: Outcome) -> None:
    """Puts both files into the output folder."""
    now = datetime.now(UTC)
    figures = json.dumps(_figures(outcome, now), indent=1, ensure_ascii=False, allow_nan=False)
    put = outcome.plan.storage.put
    put(outcome.uri("metrics.json"), figures.encode() + b"\n")
    put(outcome.uri("report.html"), _report(outcome, now).encode())


def notes(outcome: Outcome) -> list[str]:
    """What people should know before they believe the figures, in whole sentences."""
    return list(_notes(outcome))


def _notes(outcome: Outcome) -> Iterator[str]:
    if outcome.fit:
        yield from outcome.fit.notes
        if not outcome.own_windows:
            yield (
                "What was fitted holds for labelling with this section `text`: the checkpoint itself asks for other windows."
            )
    if outcome.split.skipped:
        yield f"{outcome.split.skipped:,} documents have no label and were left out."
    if failed := outcome.joined.failed:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in failed.most_common())
        yield f"{failed.total():,} documents could not be labelled and were left out: {reasons}."


def _figures(outcome: Outcome, now: datetime) -> dict[str, Any]:
    found, task, plan = outcome.found, outcome.task, outcome.plan
    figures: dict[str, Any] = {
        "version": VERSION,
        "rookery": version("rookery"),
        "evaluated_at": now.isoformat(timespec="seconds"),
        "problem_type": task.problem_type,
        "split": outcome.split.name,
        "unlabelled": outcome.split.skipped,
        "failed": dict(outcome.joined.failed),
        "scoring_key": plan.scoring.key,
        "decision_key": task.key,
        "fit": None,
        "notes": notes(outcome),
    }
    if outcome.fit:
        figures["fit"] = {"split": outcome.job.evaluation.validation, "temperature": task.temperature, "thresholds": dict(task.thresholds)}  # fmt: skip
    if isinstance(found, RegressionMetrics):
        figures["metrics"] = asdict(found)
    else:
        figures["metrics"] = asdict(found.metrics)
        figures["with_nothing_fitted"] = asdict(found.plain)
    return figures | {"job": outcome.job.model_dump(mode="json")}


def _report(outcome: Outcome, now: datetime) -> str:
    found, examples = outcome.found, outcome.joined.examples
    heading = Heading(
        title=outcome.job.checkpoint.uri.rstrip("/").rpartition("/")[2],
        subtitle=f"{len(examples):,} documents of the split {outcome.split.name}"
        if outcome.job.corpus.split_column
        else f"{len(examples):,} documents",
        notes=notes(outcome),
        facts=_facts(outcome, now),
    )
    if isinstance(found, RegressionMetrics):
        return regression_report(heading, found, examples)
    return classification_report(heading, found)


def _facts(outcome: Outcome, now: datetime) -> dict[str, str]:
    job, plan, task = outcome.job, outcome.plan, outcome.task
    policy = plan.scoring.policy
    facts = {
        "checkpoint": job.checkpoint.uri,
        "corpus": ", ".join(job.corpus.uris),
        "label column": job.corpus.label_column,
        "documents": f"{len(outcome.joined.examples):,} measured, {outcome.split.skipped:,} without a label, "
        f"{outcome.joined.failed.total():,} that could not be labelled",
        "problem type": f"{task.problem_type}, {len(task.labels):,} outputs",
        "windows": f"{policy.long_documents}, at most {policy.max_tokens:,} tokens, overlap {policy.overlap:,}, "
        f"aggregated by {plan.scoring.aggregation}",
        "computed in": plan.scoring.dtype,
        "scoring key": plan.scoring.key,
        "decision key": task.key,
        "evaluated": f"{now:%Y-%m-%d %H:%M} UTC by Rookery {version('rookery')}",
    }
    if task.problem_type != "regression":
        origin = f"fitted on {job.evaluation.validation}" if outcome.fit else "the checkpoint's own"
        facts["temperature"] = f"{task.temperature:.4g} ({origin})"
    return facts
