"""What a job's gates make of a new snapshot: figures beside their limits.

Each figure stands for a number of documents. Of fewer than its least number a gate judges nothing; without a limit its
figure is only told.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.gates import GateSettings
from pipeline.tables.comparison import Comparison

GATES = "gates"  # in a manifest's `run`: {"judged_by": digest, "against": number, "verdicts": [Verdict]}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate says. `label`: of all labels, the one that is furthest from keeping the limit.

    `gate` is the limit's key in the job file. `outcome`: kept | broken | too few | told.
    """

    gate: str
    figure: float | None  # None of no documents
    limit: float | None
    documents: int
    outcome: str
    label: str | None = None

    @property
    def is_broken(self) -> bool:
        """Whether it holds the snapshot back."""
        return self.outcome == "broken"


def judge_comparison(gates: GateSettings, comparison: Comparison) -> list[Verdict]:
    """Judges a new snapshot against the current one."""
    predictions = min(comparison.before.predictions, comparison.after.predictions)
    verdicts = [_verdict(gates, "min_agreement", comparison.agreement, comparison.both)]
    if labels := comparison.labels:
        moved = max(labels, key=lambda label: abs(label.change))
        # one that is too rare to judge is named only where all are
        flipped = max(labels, key=lambda label: (label.in_either >= gates.min_label_documents, label.flips))
        verdicts += [
            _verdict(gates, "max_share_change", abs(moved.change), predictions, moved.label),
            _verdict(gates, "max_label_flips", flipped.flips, flipped.in_either, flipped.label),
        ]
    return [*verdicts, _verdict(gates, "max_psi", comparison.label_psi, predictions)]


def judge_gold(gates: GateSettings, macro_f1: float | None, documents: int) -> Verdict:
    """Judges a new snapshot on a gold corpus, of which `documents` have a prediction."""
    return _verdict(gates, "min_gold_macro_f1", macro_f1, documents)


def judgement(judged_by: str, against: int | None, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Makes the entry of a manifest's `run`."""
    return {GATES: {"judged_by": judged_by, "against": against, "verdicts": [asdict(verdict) for verdict in verdicts]}}


def verdicts_of(run: dict[str, Any]) -> list[Verdict]:
    """Reads what gates made of a snapshot from its manifest's `run`; empty where there were none."""
    return [Verdict(**verdict) for verdict in run.get(GATES, {}).get("verdicts", [])]


def verdict_line(verdict: Verdict) -> str:
    """Says in words what a gate has found, of how many documents, and what the limit is."""
    label, documents = f"{verdict.label!r}", f"{verdict.documents:,} documents"
    figure = "none" if verdict.figure is None else _shown(verdict, verdict.figure)
    found = {
        "min_agreement": f"agreement {figure} of {documents} in both snapshots",
        "max_share_change": f"label {label}: its share changed by {figure} of all, of {documents}",
        "max_label_flips": f"label {label}: {figure} of the {documents} that have it in either have it in one only",
        "max_psi": f"PSI of the labels' shares {figure}, of {documents}",
        "min_gold_macro_f1": f"macro F1 {figure} on {documents} of the gold corpus",
    }[verdict.gate]
    return f"{found}{_limit(verdict)}"


def _verdict(gates: GateSettings, gate: str, figure: float | None, documents: int, label: str | None = None) -> Verdict:
    limit = getattr(gates, gate)
    if limit is None:
        outcome = "told"
    elif figure is None or documents < _least(gates, gate):
        outcome = "too few"
    else:
        is_kept = figure >= limit if gate.startswith("min_") else figure <= limit
        outcome = "kept" if is_kept else "broken"
    return Verdict(gate, figure, limit, documents, outcome, label)


def _least(gates: GateSettings, gate: str) -> int:
    """Of how many documents a gate judges."""
    own = {"max_label_flips": gates.min_label_documents, "min_gold_macro_f1": gates.min_gold_documents}
    return own.get(gate, gates.min_documents)


def _limit(verdict: Verdict) -> str:
    if verdict.limit is None:
        return ""
    least_or_most = "at least" if verdict.gate.startswith("min_") else "at most"
    limit = f"{least_or_most} {_shown(verdict, verdict.limit)}"
    too_few = f"too few documents to judge it by gates.{verdict.gate}, {limit}"
    return f"; {too_few if verdict.outcome == 'too few' else f'gates.{verdict.gate} allows {limit}'}"


def _shown(verdict: Verdict, figure: float) -> str:
    return f"{figure:.4f}" if verdict.gate in ("max_psi", "min_gold_macro_f1") else f"{figure:.2%}"
