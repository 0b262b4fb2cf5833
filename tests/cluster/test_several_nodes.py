"""Three Ray nodes of two CPUs, each in a network namespace, while one job runs: one dies, one joins, one leaves."""

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sample import CHECKPOINT, CORPUS
from pipeline.cluster.graph import UNITS_IN_FLIGHT
from pipeline.config.label import parse_job
from pipeline.planning.plan import make_plan
from pipeline.tables.publish import publish
from tests.cluster.namespaces import NoNamespacesError, address, namespaces
from tests.cluster.ray_nodes import PATIENCE_SECONDS, Nodes
from tests.faults.judge import Table
from tests.labelling import label_here
from tests.processes import listening_addresses

HEAD, KILLED, LEAVING, LATE = range(4)
UNITS = 60
HELD, SLOW, FAST = "1000", "1", "0"  # seconds that a unit takes: some are left until everything has happened
IN_FLIGHT = 2 * UNITS_IN_FLIGHT  # of a node that has room for two actors


@dataclass(frozen=True, slots=True)
class Step:
    """What the hook of slow units wrote down."""

    what: str  # begun, isolated, computed
    unit: str
    node: str  # its address


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with contextlib.ExitStack() as stack:
        try:
            names = stack.enter_context(namespaces(4))
        except NoNamespacesError as error:
            pytest.skip(f"no network namespaces: {error}")
        environment = {"ROOKERY_TEST_SLOW_UNITS": f"{tmp_path / 'pace'} {tmp_path / 'steps'}"}
        nodes = Nodes(names, [2, 2, 2, 4], tmp_path, environment)  # in place of two nodes comes one as large
        stack.callback(nodes.end)
        yield nodes


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_several_nodes(nodes: Nodes, tmp_path: Path):
    """One run: every node computes; one is killed; one joins late, and computes; one is asked to go, and loses nothing.

    The table is byte for byte that of a run in this process.
    """
    nodes.start(HEAD, KILLED, LEAVING)
    settings = job_settings(tmp_path)
    labelling = Labelling(tmp_path)
    run = labelling.start(nodes, settings)
    labelling.wait(run, lambda: labelling.on(HEAD, KILLED, LEAVING))
    labelling.pace.write_text(SLOW)
    labelling.wait(run, lambda: labelling.on(HEAD, KILLED, LEAVING, what="computed"))

    labelling.pace.write_text(HELD)
    nodes.kill_raylet(KILLED)
    at_stake = {step.unit for step in labelling.steps() if step.node == address(KILLED)} - labelling.kept()
    nodes.start(LATE)
    labelling.wait(run, lambda: labelling.on(LATE))
    assert not listening_addresses(nodes.family()), "something listens outside the namespaces"

    nodes.terminate(LEAVING)
    labelling.pace.write_text(SLOW)
    assert nodes.end_of(LEAVING) == 1, nodes.log(LEAVING)
    assert nodes.preempted_actors() >= 1, "its actors' restarts are counted against them"
    left = [step for step in labelling.steps() if step.node == address(LEAVING)]
    labelling.pace.write_text(FAST)
    assert run.wait(PATIENCE_SECONDS) == 0, nodes.log(HEAD)

    steps = labelling.steps()
    begun = Counter(step.unit for step in steps if step.what != "computed")
    again = {unit for unit, times in begun.items() if times > 1}
    assert again <= at_stake, "a unit was computed twice that the dead node did not have"
    assert len(at_stake) <= IN_FLIGHT
    assert {step.unit for step in steps if step.what == "isolated"} <= at_stake, "one was suspected that was not begun"
    assert labelling.on(LATE, what="computed")
    on_leaving = Counter((step.what, step.unit) for step in left)
    assert all(on_leaving["computed", unit] for what, unit in on_leaving), "a unit was cut off"
    assert not again & {step.unit for step in left}, "what the leaving node had computed was lost"
    assert labelling.table.published() == undisturbed(tmp_path, settings).published()
    assert not [name for name in labelling.table.names("_units") if name.endswith(".begun")]


class Labelling:
    """A run of `rookery label` beside the first node, and what its units went through."""

    def __init__(self, folder: Path) -> None:
        self.log, self.pace = folder / "steps", folder / "pace"
        self.log.touch()
        self.pace.write_text(HELD)
        self.table = Table(fsspec.filesystem("file"), f"{folder}/table", f"{folder}/table")

    def start(self, nodes: Nodes, settings: list[str]) -> subprocess.Popen[bytes]:
        every = [f"table.uri={self.table.uri}", *settings]
        command = [sys.executable, "-m", "jobs.cli", "label", "--config", os.devnull]
        every.append(f"ray.address={nodes.address}")
        return nodes.run(HEAD, [*command, *(part for setting in every for part in ("--set", setting))])

    def steps(self) -> list[Step]:
        return [Step(*line.split()) for line in self.log.read_text().splitlines()]

    def on(self, *numbers: int, what: str = "") -> bool:
        """Tells whether each of these nodes has begun a unit, or what else it did."""
        nodes = {step.node for step in self.steps() if what in step.what}
        return nodes >= {address(number) for number in numbers}

    def kept(self) -> set[str]:
        return {Path(name).stem for name in self.table.names("_units") if name.endswith(".parquet")}

    def wait(self, run: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert run.poll() is None, "the run ended"
            assert time.monotonic() < deadline, "the run hangs"
            time.sleep(0.05)


def undisturbed(folder: Path, settings: list[str]) -> Table:
    """The same corpus in a table of its own, labelled in this process."""
    table = Table(fsspec.filesystem("file"), f"{folder}/undisturbed", f"{folder}/undisturbed")
    plan = make_plan(parse_job("", [f"table.uri={table.uri}", *settings]))
    label_here(plan)
    publish(plan.snapshots, plan.fragments, plan.publication, {})
    return table


def job_settings(folder: Path) -> list[str]:
    """Sixty small files, one unit each."""
    (folder / "corpus").mkdir()
    documents = pq.read_table(CORPUS / "test.parquet", columns=["id", "text"]).slice(0, UNITS).to_pylist()
    for number, row in enumerate(documents):
        pq.write_table(
            pa.Table.from_pylist([row | {"text": row["text"][:300]}]), folder / "corpus" / f"{number}.parquet"
        )
    return [
        f"corpus.uris={folder}/corpus",
        "corpus.id_column=id",
        f"checkpoint.uri={CHECKPOINT}",
        "compute.num_cpus=1",
        "compute.actors=5",  # and a core for readers: all of three nodes
        "compute.dtype=fp32",
        "table.buckets=1",
    ]
