"""The arithmetic of the simulation, and that a run of the real graph with a sleeping encoder makes a whole table."""

import time
from pathlib import Path

import pytest

from jobs.measure.nodes import ACTORS, Scaling, UnitEnd, at_many_actors, busy_seconds, scaling, simulated_job
from jobs.measure.sleeping_stage import sleeping
from pipeline.cores import available_cores
from pipeline.planning.plan import make_plan
from pipeline.planning.shared_reading import TableShare, shared_passes
from pipeline.runs.unit_done import UnitDone


def ended(at: float, cpu: float) -> UnitEnd:
    return UnitEnd(at, cpu, at * available_cores() / 4, UnitDone("unit", 0, 1, 0, 1, 100, encode_s=10.0))


def test_the_time_begins_with_the_first_unit_and_idle_actors_count():
    """Eight actors compute two units each, of which one's second ends 5 s after the others'."""
    ends = [ended(110, 3.0)] * ACTORS + [ended(120, 4.0)] * (ACTORS - 1) + [ended(125, 4.5)]
    run = scaling(1, ends)
    assert run.seconds == 25  # from 100 s on, when the first unit began
    assert run.efficiency == pytest.approx(16 * 10 / (25 * ACTORS))
    assert run.cpu == pytest.approx(1.5 / 15)
    assert run.busy == pytest.approx(1 / 4)
    assert run.rate == pytest.approx(16 / 25)


def test_a_core_that_works_is_seen():
    before, until = busy_seconds(), time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert busy_seconds() >= before + 0.15  # a tick is 10 ms


def test_many_actors_are_on_the_straight_line():
    runs = [Scaling(count, 10, 10.0, 1.0, cpu, 0.5) for count, cpu in ((1, 0.02), (2, 0.5), (8, 0.09))]
    # 0.02 at 8 actors and 0.09 at 64 are 0.26 at 200
    assert at_many_actors(runs, 20).endswith("200 actors, 10.0 units/s, keep the driver busy for 26% of a core.")


@pytest.mark.ray
def test_a_sleeping_encoder_takes_the_place_of_the_real_one(ray: None, tmp_path: Path):
    from pipeline.cluster.graph import compute

    plan = make_plan(simulated_job(tmp_path, actors=1, units=3))
    (tmp_path / "meeting").mkdir()
    work = shared_passes(TableShare(0, units) for units in plan.passes)
    units = list(compute(plan.job, (plan.work(),), work, sleeping(0.1, 1, tmp_path / "meeting")))
    assert {unit.unit for unit in units} == set(plan.unit_ids) == plan.fragments.finished()
    assert all(0.1 <= unit.encode_s < 10 and unit.tokens for unit in units)
    assert len({unit.actor for unit in units}) == 1
