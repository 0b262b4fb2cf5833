"""Requests of planning and publishing: as many as the README says, on the simulated store and on a real one."""

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import s3fs

from jobs.measure.phase_costs import Cost, cost_table, exponent, of_median_cpu
from jobs.measure.scale import CHANGED, measure_scale, planned
from jobs.measure.simulated_store import UNITS_PER_FILE, SimulatedStore, World, corpus_file, fragment_bytes
from jobs.sample import CHECKPOINT
from pipeline.config.label import parse_job
from pipeline.planning.plan import Plan, make_plan
from pipeline.tables.publish import is_current, publish
from tests.s3 import S3Server

NAMES = {
    "head_object": "HEAD",
    "head_bucket": "HEAD",
    "list_objects_v2": "LIST",
    "get_object": "GET",
    "put_object": "PUT",
    "copy_object": "COPY",
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty simulated store."""
    world = World()
    monkeypatch.setattr(SimulatedStore, "world", world)
    return world


def by_phase(costs: list[Cost]) -> dict[str, Cost]:
    return {cost.phase: cost for cost in costs}


def test_requests_grow_with_the_corpus_and_no_faster(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.corpus.units.MANY_FILES", 300)
    small = by_phase(measure_scale(300))
    monkeypatch.setattr(SimulatedStore, "world", World())
    large = by_phase(measure_scale(900))
    for cost in (*small.values(), *large.values()):
        files, units, sent = cost.files, cost.files * UNITS_PER_FILE, cost.requests
        assert cost.units == units
        # each finished unit's folder, and some for the corpus, the table, its snapshots, candidates, editions, erasures
        assert sent["LIST"] <= 256 + units // 1000 + 20
        # but for a folder of units and for a thousand names, all requests are those of tasks
        assert cost.driver_requests.total() <= 256 + units // 1000 + 60
        if ": plan" in cost.phase:
            assert sent["HEAD"] - files in range(8)
            assert sent["GET"] - files in range(3)
            assert sent["PUT"] == sent["COPY"] == 0
        elif cost.phase.endswith("label"):
            assert not sent
        elif cost.phase == "first night: publish":
            # each fragment is counted, then written; some looks for hints that are not there yet
            assert sent["GET"] - 2 * units in range(10)
            # tallies and files; claim, list of units, five lists of files, manifest, _latest.json, _last_survey.json
            assert sent["PUT"] == 2 * cost.groups + 10
            assert sent["COPY"] == 0
        elif cost.phase.endswith("nothing has changed"):
            assert sent["HEAD"] + sent["GET"] < 10  # no file's footer, no fragment's folder
            assert sent["LIST"] <= files // 1000 + 10
            assert sent["PUT"] == sent["COPY"] == 0
        else:
            added, one = divmod(sent["PUT"] - 10, 2)
            assert (added <= UNITS_PER_FILE * -(-files // CHANGED), one) == (True, 0)
            assert sent["COPY"] == cost.groups - added
    assert cost_table([*small.values(), *large.values()]).row_count == 2 * len(small)


def test_a_plan_and_its_groups_take_little_memory_for_each_unit(world: World, monkeypatch: pytest.MonkeyPatch):
    """The driver's first GB is for a million units and what it has loaded: 200 bytes each are a fifth of it."""
    monkeypatch.setattr("pipeline.packed.OPEN_ITEMS", 1024)  # so that less than usual is held as it is
    world.file, world.files = corpus_file(), 1
    planned()  # what a process holds from then on is no plan's
    held = {}
    for files in (2048, 6144):
        world.files = files
        tracemalloc.start()
        plan = planned()
        assert len(plan.publication.groups) > files // 64
        held[files] = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del plan
    assert (held[6144] - held[2048]) / 4096 < 200, held


def cost(files: int, cpu_seconds: float) -> Cost:
    return Cost(files, "plan", files, 1, 1.0, cpu_seconds, 100, Counter(), Counter(), 0)


def test_the_exponent_is_that_of_the_growth_and_the_median_is_shown():
    assert exponent(cost(100, 2.0), cost(1000, 20.0)) == pytest.approx(1)
    assert exponent(cost(100, 2.0), cost(1000, 200.0)) == pytest.approx(2)
    assert of_median_cpu([[cost(100, 3.0)], [cost(100, 1.0)], [cost(100, 2.0)]]) == [cost(100, 2.0)]


def phases(job: list[str], write: Callable[[Plan], None], sent: Counter[str]) -> Iterator[Any]:
    """Requests of each phase: plan, plan again when all is labelled, publish, plan when nothing is to do."""
    plan = make_plan(parse_job("", job))
    assert is_current(plan.snapshots, plan.publication) is None
    yield "plan", dict(sent)
    write(plan)
    sent.clear()
    plan = make_plan(parse_job("", job))
    assert not plan.missing
    yield "plan again", dict(sent)
    sent.clear()
    first = publish(plan.snapshots, plan.fragments, plan.publication, {})
    yield "publish", dict(sent)
    sent.clear()
    assert is_current(plan.snapshots, plan.publication) == first
    yield "nothing to do", dict(sent)


@pytest.mark.s3
def test_the_simulated_store_counts_what_s3_is_sent(world: World, s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    common = ["corpus.id_column=id", f"checkpoint.uri={CHECKPOINT}"]
    world.files, world.file = 3, corpus_file()

    def simulate(plan: Plan) -> None:
        for id_ in plan.unit_ids:
            uri = plan.fragments.uri(id_)
            world.add_fragment(uri)
            world.objects[uri.removeprefix("simulated://")] = fragment_bytes(uri)

    simulated = ["corpus.uris=simulated://corpus", "table.uri=simulated://table", *common]
    expected = list(phases(simulated, simulate, world.requests))

    bucket, sent = s3.new_bucket(), Counter[str]()
    filesystem = s3.filesystem()
    for number in range(world.files):
        filesystem.pipe_file(f"{bucket}/corpus/{number}.parquet", world.file)

    def put(plan: Plan) -> None:
        for id_ in plan.unit_ids:
            uri = plan.fragments.uri(id_)
            filesystem.pipe_file(uri, fragment_bytes(uri))

    really = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
        sent[NAMES[method]] += 1
        return await really(self, method, *arguments, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    real = [
        f"corpus.uris=s3://{bucket}/corpus",
        f"table.uri=s3://{bucket}/table",
        f"storage.endpoint_url={s3.endpoint}",
    ]
    assert list(phases([*real, *common], put, sent)) == expected
