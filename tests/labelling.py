"""What a run does on Ray, in this process: for tests of what comes before and after."""

from collections.abc import Iterator

from pipeline.cluster.encode_stage import EncodeStage
from pipeline.cluster.fragment_stage import FragmentStage
from pipeline.cluster.graph import UnitDone
from pipeline.cluster.read_stage import ReadStage, Wanted
from pipeline.cluster.taking_over import take_over_or_compute
from pipeline.corpus.streams import Pass
from pipeline.planning.plan import Plan
from pipeline.tables.attempts import Attempts


def label_here(plan: Plan, threads: int = 1) -> list[UnitDone]:
    """Does what Ray's tasks and actors do with each unit that has no fragment, one after the other."""

    def compute(passes: list[Pass], wanted: Wanted) -> Iterator[UnitDone]:
        read = ReadStage(plan.storage, plan.scoring, plan.fragments, plan.stream_lengths)
        encode = EncodeStage(Attempts(plan.fragments, "predict"), plan.scoring, "cpu", threads)
        keep = FragmentStage(plan.fragments, plan.task, frozenset(wanted))
        for units in passes:
            for packs in read(units, wanted):
                for row in keep(encode(packs)).to_pylist():
                    yield UnitDone(**row, incomplete=row["unit"] in wanted)

    if plan.takes_over:
        return list(take_over_or_compute(plan, plan.passes, plan.finished, "", compute, map))
    return list(compute(plan.passes, {}))
