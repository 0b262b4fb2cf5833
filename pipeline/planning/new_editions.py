"""Documents that failed for a reason that may pass: their units are given up, and planned in another edition.

Of such a unit only the documents without a prediction are computed: the others are taken over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mapped import Mapped
from pipeline.packed import PackedList
from pipeline.planning.plan import Plan
from pipeline.tables.failures import failures_of_snapshot, transfer_batches
from pipeline.tables.fragments import Fragments
from pipeline.tables.publish import is_current

PASSING_REASONS = frozenset({"process_died"})  # reasons that lie in the machine, and not in the document
ASKED_TOGETHER = 512  # fragments that one call looks into


@dataclass(frozen=True, slots=True)
class Failing:
    """Called with units that have fragments, it picks those with documents that failed for some reasons."""

    fragments: Fragments
    reasons: frozenset[str]

    def __call__(self, units: list[str]) -> list[str]:
        """Reads of each unit why documents failed. Raises FileNotFoundError."""
        wanted = pa.array(sorted(self.reasons), pa.string())
        read = (pair for some in transfer_batches(units) for pair in self._reasons(some))
        return [unit for unit, rows in read if pc.any(pc.is_in(rows["reason"], wanted)).as_py()]

    def _reasons(self, units: list[str]) -> Iterator[tuple[str, pa.Table]]:
        return zip(units, self.fragments.read_columns(units, ["reason"]), strict=True)


def retry(plan: Plan, reasons: frozenset[str], mapped: Mapped = map) -> Plan:
    """Plans another edition of each finished unit with documents that failed for `reasons`; writes nothing.

    `store_editions` makes it last; `mapped` spreads the fragments that are looked into.
    """
    finished = [unit for unit in _suspects(plan, reasons) if unit in plan.finished]
    together = (finished[start : start + ASKED_TOGETHER] for start in range(0, len(finished), ASKED_TOGETHER))
    again = {unit for some in mapped(Failing(plan.fragments, reasons), together) for unit in some}
    units = (
        replace(unit, edition=unit.edition + 1) if id_ in again else unit
        for id_, unit in zip(plan.unit_ids, plan.units, strict=True)
    )
    return replace(plan, units=PackedList(units))


def store_editions(plan: Plan) -> None:
    """Makes the editions of a plan's missing units those of every later plan."""
    key = plan.scoring.key
    plan.editions.write({replace(unit, edition=0).id(key): unit.edition for _, unit in plan.missing if unit.edition})


def _suspects(plan: Plan, reasons: frozenset[str]) -> list[str]:
    """Units of files that have such errors in the snapshot; all, where no snapshot tells of what is finished."""
    current = is_current(plan.snapshots, plan.publication)
    if current is None:
        return list(plan.unit_ids)
    wanted = pa.array(sorted(reasons), pa.string())
    failed = (rows.filter(pc.is_in(rows["reason"], wanted)) for rows in failures_of_snapshot(plan.snapshots, current))
    files = {uri for rows in failed for uri in rows["source_uri"].to_pylist()}
    return [id_ for id_, unit in zip(plan.unit_ids, plan.units, strict=True) if unit.file.uri in files]
