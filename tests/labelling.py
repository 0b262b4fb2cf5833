"""What a run does on Ray, in this process: for tests of what comes before and after."""

from pipeline.cluster.encode_stage import EncodeStage
from pipeline.cluster.fragment_stage import FragmentStage
from pipeline.cluster.read_stage import ReadStage
from pipeline.planning.plan import Plan
from pipeline.tables.attempts import Attempts


def label_here(plan: Plan, threads: int = 1) -> None:
    """Does what Ray's tasks and actors do with each unit that has no fragment, one after the other."""
    read = ReadStage(plan.storage, plan.scoring, plan.fragments, plan.stream_lengths)
    encode = EncodeStage(Attempts(plan.fragments, "predict"), plan.scoring, "cpu", threads)
    keep = FragmentStage(plan.fragments, plan.task)
    for units in plan.passes:
        for packs in read(units):
            keep(encode(packs))
