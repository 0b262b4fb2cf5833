"""How much of what is stored each unit is: the measure by which work is weighed before its text is read."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.corpus.slices import Unit
from pipeline.planning.plan import Plan


def stored_bytes(units: Sequence[Unit]) -> npt.NDArray[np.float64]:
    """Gives of each unit of a corpus its share of its file's bytes: its range, else by documents, else an equal part.

    `units` are all those of their files: what the others have is no share of theirs.
    """
    parts, documents = Counter[str](), Counter[str]()
    for unit in units:
        parts[unit.file.uri] += 1
        documents[unit.file.uri] += unit.documents or 0
    return np.array([_bytes(unit, parts[unit.file.uri], documents[unit.file.uri]) for unit in units], np.float64)


def missing_bytes(plan: Plan) -> list[tuple[Unit, float]]:
    """Lists the units that a plan lacks, in order, each with its bytes that are stored."""
    weighed = zip(plan.unit_ids, plan.units, stored_bytes(plan.units).tolist(), strict=True)
    return [(unit, n_bytes) for id_, unit, n_bytes in weighed if id_ not in plan.finished]


def _bytes(unit: Unit, parts: int, documents: int) -> float:
    start, stop = unit.slice.byte_range
    if stop is not None:
        return float(stop - start)
    share = unit.documents / documents if unit.documents is not None and documents else 1 / parts
    return unit.file.stored.size * share
