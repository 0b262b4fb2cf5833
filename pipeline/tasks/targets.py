"""Labels as people gave them -> what a head is trained and measured on.

single_label  int64   [N]      index of the one label
binary        int64   [N]      the same, of two
multi_label   float32 [N, L]   1 for each label that the document has
regression    float32 [N, 1]   the number

Shapes: N documents, L labels.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import CorpusError
from pipeline.messages import listed
from pipeline.terms import Label, ProblemType

_EXPECTED = {
    "single_label": "one label, a string or a whole number",
    "binary": "one label, a string or a whole number",
    "multi_label": "a list of strings",
    "regression": "a number",
}
ONE_LABEL = ("single_label", "binary")


def found_labels(problem_type: ProblemType, labels: Iterable[Label]) -> tuple[str, ...]:
    """Lists the labels' names, sorted: what a head that is trained on them gets; `value` for a regression.

    Raises:
        CorpusError: fewer than two in a single_label corpus, or values that are no labels.
    """
    if problem_type == "regression":
        return ("value",)
    names = sorted({name for label in labels for name in _names(problem_type, label)})
    if problem_type == "single_label" and len(names) < 2:
        raise CorpusError(
            f"every document has the label {', '.join(names) or 'none'}: there is nothing to tell apart; expected "
            "at least two labels"
        )
    return tuple(names)


def targets(problem_type: ProblemType, names: Sequence[str], labels: Sequence[Label]) -> npt.NDArray[Any]:
    """Makes the array of `labels` for a head whose outputs are called `names`.

    Raises:
        CorpusError: a label that is not among `names`, or is none for this problem type.
    """
    if problem_type == "regression":
        return np.array([[_number(label)] for label in labels], np.float32).reshape(-1, 1)
    per_document = [_names(problem_type, label) for label in labels]
    index = {name: number for number, name in enumerate(names)}
    _refuse_unknown(index, per_document)
    if problem_type in ONE_LABEL:
        return np.array([index[name] for (name,) in per_document], np.int64)
    target_NL = np.zeros((len(labels), len(names)), np.float32)
    for row, names_of_one in enumerate(per_document):
        target_NL[row, [index[name] for name in names_of_one]] = 1
    return target_NL


def _refuse_unknown(index: dict[str, int], per_document: list[tuple[str, ...]]) -> None:
    unknown = sorted({name for names in per_document for name in names} - set(index))
    if unknown:
        documents = sum(any(name not in index for name in names) for names in per_document)
        raise CorpusError(
            f"{documents:,} documents have labels that the checkpoint does not know: {listed(unknown)}; it knows "
            f"{listed(sorted(index))}: leave them out, or train a head for them"
        )


def _names(problem_type: ProblemType, label: Label) -> tuple[str, ...]:
    if problem_type == "multi_label" and isinstance(label, tuple):
        return label
    if problem_type in ONE_LABEL and isinstance(label, str | int):
        return (str(label),)
    raise _wrong(problem_type, label)


def _number(label: Label) -> float:
    if isinstance(label, str):  # CSV knows nothing else
        try:
            label = float(label)
        except ValueError as error:
            raise _wrong("regression", label) from error
    if isinstance(label, tuple) or not np.isfinite(label):
        raise _wrong("regression", label)
    return float(label)


def _wrong(problem_type: ProblemType, label: Label) -> CorpusError:
    return CorpusError(
        f"a document's label is {label!r}; expected {_EXPECTED[problem_type]}, as problem_type is {problem_type}"
    )
