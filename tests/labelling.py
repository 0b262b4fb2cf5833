"""What a run does on Ray, in this process: for tests of what comes before and after."""

from collections.abc import Iterator

from pipeline.cluster.encode_stage import EncodeStage
from pipeline.cluster.fragment_stage import FragmentStage
from pipeline.cluster.read_stage import ReadStage
from pipeline.cluster.taking_over import take_over_or_compute
from pipeline.planning.plan import Plan
from pipeline.planning.shared_reading import SharedPass, TableShare, passes_in_order
from pipeline.runs.unit_done import UnitDone


def label_here(*plans: Plan, threads: int = 1) -> list[UnitDone]:
    """Does what Ray's tasks and actors do with each unit that has no fragment, one after the other."""
    tables = tuple(plan.work() for plan in plans)

    def compute(work: list[SharedPass]) -> Iterator[UnitDone]:
        incomplete = frozenset((share.table, id_) for one in work for share in one.shares for id_ in share.wanted)
        read, encode = ReadStage(plans[0].storage, tables), EncodeStage(tables, "cpu", threads)
        keep = FragmentStage(tables, incomplete)
        for logits in (logits for one in work for packs in read(one) for logits in encode(packs)):
            for row in keep(logits).to_pylist():
                yield UnitDone(**row, incomplete=(row["table"], row["unit"]) in incomplete)

    work = list(passes_in_order(_shares(table, plan) for table, plan in enumerate(plans)))
    if any(plan.takes_over for plan in plans):
        return list(take_over_or_compute(plans, tables, work, [plan.finished for plan in plans], compute, map))
    return list(compute(work))


def _shares(table: int, plan: Plan) -> Iterator[TableShare]:
    return (TableShare(table, units) for units in plan.passes)
