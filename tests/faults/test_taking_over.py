"""A corpus is written anew and a document of it edited: what takes scores over is killed at each object it writes.

At two of them in a run, which survives its workers: a run on Ray takes longer than what it is killed for.
"""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.faults import IN_WORKER, KILLED, hook
from tests.faults.judge import Reader
from tests.faults.world import Target, World

STEPS = {  # in order; each is among the steps of a test
    "description": "/_units/documents/",
    "index": "/_index/",
    "computed rows": "/_units/computed/",
    "fragment": r"/_units/.*\.parquet$",
}
CUT = "corpus.uris={}/**"


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory, shared_world: World) -> Path:
    """The same documents in another order, in other files, one of them edited."""
    rows = [row for file in sorted(shared_world.corpus.glob("**/*.parquet")) for row in pq.read_table(file).to_pylist()]
    random.Random(0).shuffle(rows)
    rows[7]["text"] = "quite another text"
    folder = tmp_path_factory.mktemp("rewritten")
    for half in (1, 2):
        (folder / f"half={half}").mkdir()
        part = pa.Table.from_pylist(rows[half - 1 :: 2])
        pq.write_table(part, folder / f"half={half}" / "all.parquet", row_group_size=5)
    return folder


@pytest.fixture(scope="module")
def expected(rewritten: Path, shared_world: World) -> dict[str, object]:
    """What a table from scratch publishes of it."""
    target = shared_world.local()
    target.finish_without_ray(CUT.format(rewritten))
    return target.table.published()


@pytest.mark.parametrize("steps", [("description", "computed rows"), ("index", "fragment")], ids=" and ".join)
def test_what_is_killed_is_finished_and_the_table_is_the_one_from_scratch(
    world: World, rewritten: Path, expected: dict[str, object], steps: tuple[str, ...]
):
    target, settings = world.local(), CUT.format(rewritten)
    target.prefill()
    faults = []
    for step in steps:
        when = random.Random(step).choice(["before", "after"])
        faults.append(hook(target, step, "put_if_absent", STEPS[step], when=when, **IN_WORKER))
    with reader(target, rewritten):
        code, output = target.run(settings, faults=faults)
        for step, fault in zip(steps, faults, strict=True):
            assert Path(fault["marker"]).exists(), f"{step} was not written:\n{output}"
        assert code in (KILLED, 0), output
        target.finish(settings)
    assert target.table.published() == expected
    for scratch in ("documents", "computed"):
        assert target.table.names(f"_units/{scratch}") == []


def reader(target: Target, corpus: Path) -> Reader:
    ids = {id_ for file in corpus.glob("**/*.parquet") for id_ in pq.read_table(file, columns=["id"])["id"].to_pylist()}
    return Reader(target.table, [ids])
