"""A temperature and thresholds that fit a validation split.

The temperature comes first, because thresholds are probabilities that it has made true. A single_label checkpoint
keeps its thresholds: its label is the most probable one, and a threshold only leaves documents without it, which no
F1 asks for. A label that no document of the validation split has keeps its threshold too: nothing here speaks
against the one that it has.
"""

from dataclasses import dataclass, replace

from pipeline.evaluation.calibration import fit_temperature
from pipeline.evaluation.scored_documents import ScoredDocuments
from pipeline.evaluation.thresholds import fit_thresholds
from pipeline.messages import listed
from pipeline.tasks.classification import Classification

LABELS_NAMED = 12


@dataclass(frozen=True, slots=True)
class Fit:
    """What fits, and what people should know of it."""

    task: Classification
    notes: tuple[str, ...]


def without_fit(task: Classification) -> Classification:
    """Takes back whatever was fitted: temperature 1, thresholds of 0.5, and none in single_label."""
    return replace(task, thresholds={}, temperature=1.0)


def fit_decision(task: Classification, validation: ScoredDocuments) -> Fit:
    """Fits the temperature and the thresholds of a task to a validation split; what can't be fitted stays as it is."""
    notes = []
    temperature = fit_temperature(task.problem_type, validation)
    if temperature is None:
        notes.append(
            f"The temperature stays {task.temperature:g}: on these {len(validation):,} documents the likelihood "
            "has no best one, because the scores tell all of them apart, or none."
        )
        temperature = task.temperature
    task = replace(task, temperature=temperature)
    if task.problem_type == "single_label":
        return Fit(task, tuple(notes))
    best_thresholds = fit_thresholds(task.scores(validation.logits_NL), validation.truth_NL)
    if task.problem_type == "binary" and best_thresholds[1] is not None:
        best_thresholds[0] = 1 - best_thresholds[1]  # the first label is what the second one's threshold leaves over
    fitted = {label: t for label, t in zip(task.labels, best_thresholds, strict=True) if t is not None}
    if unfitted := [label for label in task.labels if label not in fitted]:
        notes.append(_note_of_unfitted(task, unfitted))
    return Fit(replace(task, thresholds={**task.thresholds, **fitted}), tuple(notes))


def _note_of_unfitted(task: Classification, labels: list[str]) -> str:
    thresholds = listed([f"{label} ({task.threshold(label):g})" for label in labels], LABELS_NAMED)
    return (
        f"No document of the validation split has {len(labels):,} of the {len(task.labels):,} labels, so their "
        f"threshold stays as it is: {thresholds}."
    )
