"""How much of what is stored each unit is: the measure by which work is weighed before its text is read."""

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np
import numpy.typing as npt

from pipeline.corpus.slices import Unit
from pipeline.planning.plan import Plan


def stored_bytes(units: Iterable[Unit]) -> npt.NDArray[np.float64]:
    """Gives of each unit of a corpus its share of its file's bytes: its range, else by documents, else an equal part.

    `units` are all those of their files, one file's after another's: what others have is no share of theirs.
    """
    files = (list(of_file) for _, of_file in groupby(units, lambda unit: unit.file.uri))
    return np.fromiter((n_bytes for of_file in files for n_bytes in _bytes_of_file(of_file)), np.float64)


def _bytes_of_file(units: list[Unit]) -> Iterator[float]:
    documents = sum(unit.documents or 0 for unit in units)
    return (_bytes(unit, len(units), documents) for unit in units)


def missing_bytes(plan: Plan) -> list[tuple[Unit, float]]:
    """Lists the units that a plan lacks, in order, each with its bytes that are stored."""
    return list(zip((unit for _, unit in plan.missing), bytes_of_missing(plan).tolist(), strict=True))


def bytes_of_missing(plan: Plan) -> npt.NDArray[np.float64]:
    """Gives the bytes that are stored of each unit that a plan lacks, in order."""
    return stored_bytes(plan.units)[plan.missing.is_missing]


def _bytes(unit: Unit, parts: int, documents: int) -> float:
    start, stop = unit.slice.byte_range
    if stop is not None:
        return float(stop - start)
    share = unit.documents / documents if unit.documents is not None and documents else 1 / parts
    return unit.file.stored.size * share
