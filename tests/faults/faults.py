"""Each thing that may happen to a run.

A fault takes a world and dice, lets it happen, and judges what is there in the end.

The tests take them one by one with fixed dice, the soak in turn and with new dice each time. They return a word about
how it went, for the soak's table; what must not be is an AssertionError.
"""

import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.sample import CHECKPOINT
from tests.faults.judge import check_whole
from tests.faults.proxy import FAULTS, Proxy, Weather
from tests.faults.world import Run, Target, World, patiently, restart_radosgw, small_disk, wait_for

AGAIN = 75
PAGE = 4096  # of a tmpfs
DENIED = 3
FRAGMENT = r"/_units/.*\.parquet$"
KILLED = -9
IN_WORKER = {"in": "default_worker"}
STEPS = {  # each object that publishing writes, in order
    "tally": "/_units/tallies/",
    "claim": r"/_snapshots/\d+\.claim$",
    "list of units": r"/_snapshots/\d+\.units$",
    "first data file": "/data/snapshot=.*/half=1/",
    "last data file": "/data/snapshot=.*/half=2/",
    "errors file": "/errors/snapshot=",
    "lists of files": r"/_snapshots/\d+\.(?:(?:files|added|removed)\.txt|(?:added\.)?redshift)$",
    "manifest": r"/_snapshots/\d+\.json$",
    "hint": r"/_latest\.json$",
    "survey": r"/_last_survey\.json$",
    "report": r"/_runs/[^/]+/report\.html$",
    "summary": r"/_runs/[^/]+/summary\.json$",
}


def hook(target: Target, name: str, call: str, object_: str, **named: Any) -> dict[str, Any]:
    markers = target.world.folder / "markers"
    markers.mkdir(exist_ok=True)
    marker = str(markers / f"{target.table.root.replace('/', '_')}-{name}".replace(" ", "-"))
    return {"call": call, "object": object_, "do": "kill", "marker": marker} | named


def step(target: Target, object_: str, when: str) -> str:
    """Publishing is killed just before or after it writes one object."""
    target.prefill()
    call = "put" if object_ in ("lists of files", "hint", "survey", "report", "summary") else "put_if_absent"
    with target.reader():
        fault = hook(target, f"{when} {object_}", call, STEPS[object_], when=when)
        code, output = target.run(faults=[fault])
        assert Path(fault["marker"]).exists(), f"{object_} was not written:\n{output}"
        # publishing is the driver's work, or that of workers, whose death it survives
        assert code in (KILLED, 0), output
        target.finish()
    target.judge()
    return "killed" if code else "went on"


def any_step(world: World, dice: random.Random) -> str:
    steps = [name for name in STEPS if name != "errors file" or world.has_errors]
    return step(some_target(world, dice), dice.choice(steps), dice.choice(["before", "after"]))


def some_target(world: World, dice: random.Random) -> Target:
    return world.s3() if dice.choice(world.stores) == "s3" else world.local()


@patiently
def driver_killed(world: World, dice: random.Random) -> str:
    """kill -9 of the driver in the middle, then of all processes of the next run at once: done units stay done.

    What the killed driver had started ends by itself.
    """
    target = some_target(world, dice)
    with target.reader():
        orphaned = target.start()
        caught = [wait_until_done(orphaned, target, dice.randrange(0, 4))]
        orphaned.kill_driver()
        run = target.start()
        caught.append(wait_until_done(run, target, dice.randrange(4, 8)))
        run.kill(run.processes())
        run.clean_up()
        before = target.fragments()
        target.finish()
        assert before.items() <= target.fragments().items(), "finished units were done again"
    target.judge()
    assert not (left := orphaned.left_over()), f"still there after their driver: {left}"
    return f"killed {sum(caught)}×"


def wait_until_done(run: Run, target: Target, units: int) -> bool:
    return wait_for(run, lambda: len(target.fragments()) >= units)


@patiently
def workers_killed(world: World, dice: random.Random) -> str:
    """kill -9 of a reader, of the actor, and of a task just before and after it keeps a fragment: the run goes on."""
    target = some_target(world, dice)
    faults = [
        hook(target, "reader", "open", "corpus", when="after", **IN_WORKER),
        hook(target, "before", "put_if_absent", FRAGMENT, when="before", count=1, **IN_WORKER),
        hook(target, "after", "put_if_absent", FRAGMENT, when="after", count=1, **IN_WORKER),
    ]
    with target.reader():
        run = target.start(faults=faults)
        caught = wait_until_done(run, target, 2) and run.kill(run.named("EncodeStage"))
        code, output = run.wait()
        assert code in (0, AGAIN), output
        if code:
            target.finish()
    target.judge()
    killed = sum(Path(fault["marker"]).exists() for fault in faults) + caught
    return f"{killed} killed, " + ("went on" if code == 0 else "again")


@patiently
def at_once(world: World, dice: random.Random, same: int = 2, prefilled: bool = False) -> str:
    """The same job several times at once, and one with another checkpoint: every snapshot is whole, and none is lost.

    What labels holds a unit until another run has done it: nobody takes it for a suspect.
    """
    target = some_target(world, dice)
    other = Path(shutil.copytree(CHECKPOINT, f"{world.folder}/{random.getrandbits(64):x}"))
    (other / "rookery.json").write_text(json.dumps({"temperature": 2.0}))
    override = f"checkpoint.uri={other}"
    alone = world.local()
    alone.prefill()
    alone.finish(override)
    if prefilled:
        target.prefill()
    held = hook(target, "held", "open", "corpus", when="after", do="wait", **IN_WORKER)
    log = world.folder / f"log-{random.getrandbits(64):x}"
    with target.reader():
        runs = [target.start(faults=[] if prefilled else [held], log=str(log))]
        if not prefilled:
            assert wait_for(runs[0], lambda: Path(held["marker"]).exists()), runs[0].wait()
        runs += [target.start(log=str(log)) for _ in range(same - 1)]
        if not prefilled:
            assert wait_until_done(runs[1], target, world.n_units), runs[1].wait()
            Path(held["marker"] + ".go").touch()
        runs.append(target.start(override))
        ends = [run.wait() for run in runs]
        assert [code for code, _ in ends] == [0] * len(runs), ends
    ordered = sorted(target.table.manifests().items())
    in_a_row = [manifest["content"] for _, manifest in ordered]
    assert all(one != next_ for one, next_ in pairwise(in_a_row)), "a snapshot says what the last one did"
    assert "isolated" not in log.read_text().split()
    assert not [uri for uri in target.table.names("_units") if uri.endswith(".begun")]
    contents = target.table.contents()
    assert contents == world.undisturbed.contents() | alone.table.contents()
    newest = max(manifest["snapshot"] for manifest in target.table.manifests().values())
    assert json.loads(target.table.read("_latest.json"))["snapshot"] == newest
    return f"{len(target.table.manifests())} snapshots"


@patiently
def weather(
    world: World,
    dice: random.Random,
    faults: tuple[str, ...] = FAULTS[:-1],
    *,
    prefilled: bool = False,
) -> str:
    """Some requests fail, of every kind: the run gets through, or says that it should be run again."""
    with Proxy(world.server().endpoint, seed=dice.getrandbits(32)) as proxy:
        target = world.s3(proxy.endpoint)
        if prefilled:
            target.prefill()
        proxy.weather = Weather(faults, dice.choice([0.02, 0.1]))
        with target.reader():
            code, output = target.run()
            assert code in (0, AGAIN), output
            assert "Traceback" not in output
            if code:
                proxy.weather = Weather()
                target.finish()
        target.judge()
    return "went on" if code == 0 else "again"


def weather_publishing(world: World, dice: random.Random) -> str:
    return weather(world, dice, prefilled=True)


@patiently
def outage(
    world: World,
    dice: random.Random,
    fault: str = "",
    after: int | None = None,
    prefilled: bool = True,
) -> str:
    """From some request on the store fails all: the run ends with the documented exit code, the next one well."""
    fault = fault or dice.choice(["denied", "unavailable", "refused", "black hole", "lost reply"])
    after = dice.randrange(0, 25) if after is None else after
    with Proxy(world.server().endpoint, seed=dice.getrandbits(32)) as proxy:
        target = world.s3(proxy.endpoint)
        if fault == "black hole":
            target.environment["FAULTS_PATIENCE"] = "5"
        if prefilled:
            target.prefill()
        with target.reader():
            run = target.start("storage.retry=3s")
            if wait_for(run, lambda: len(proxy.seen) >= after):
                proxy.weather = Weather((fault,))
            code, output = run.wait()
            allowed = {DENIED} if fault == "denied" else {AGAIN}
            assert code in allowed | ({0} if not proxy.injected else set()), output
            assert "Traceback" not in output, output
            proxy.weather = Weather()
            if code:
                target.finish()
        target.judge()
    return f"exit {code}"


def denied(world: World, dice: random.Random) -> str:
    """Permission is withdrawn while units are labelled."""
    return outage(world, dice, "denied", after=dice.randrange(4, 12), prefilled=False)


@patiently
def server_restarted(world: World, dice: random.Random, prefilled: bool = True) -> str:
    """The S3 server is killed and started again in the middle of a run, which waits for it."""
    server = world.server()
    with Proxy(server.endpoint, weather=Weather(("latency",))) as proxy:
        target = world.s3(proxy.endpoint)
        if prefilled:
            target.prefill()
        with target.reader() as reader:
            reader.tolerant = True
            run = target.start()
            after = dice.randrange(2, 15)
            wait_for(run, lambda: len(proxy.seen) >= after)
            away = dice.uniform(0.5, 8)
            restart_radosgw(server, away)
            code, output = run.wait()
            assert code == 0, output
        target.judge()
    return f"away {away:.0f} s"


def disk_full(world: World, dice: random.Random, prefilled: bool = False) -> str:
    """No space is left on the disk at some moment; there is more when the job runs again."""
    table = world.undisturbed
    sizes = [info["size"] for info in table.filesystem.find(table.root, detail=True).values()]
    pages = sum(-(-size // PAGE) for size in sizes)
    return on_small_disk(world, f"{dice.randrange(1, pages) * PAGE}", "", prefilled)


def read_only(world: World, dice: random.Random, prefilled: bool = True) -> str:
    """The kernel takes a disk's permission to write away, as it does after an error."""
    return on_small_disk(world, "64m", "ro", prefilled)


@patiently
def on_small_disk(world: World, size: str, later: str, prefilled: bool) -> str:
    folder = world.folder / f"disk-{random.getrandbits(64):x}"
    with small_disk(folder, size) as remount:
        target = world.local(parent=folder)
        if prefilled:
            remount("size=64m")
            target.prefill()
        fault = hook(target, "data", "put_if_absent", "/data/", when="before", do="wait")
        with target.reader():
            run = target.start(faults=[fault] if later else [])
            if later:
                assert wait_for(run, lambda: Path(fault["marker"]).exists()), run.wait()
                remount(later)
                Path(fault["marker"] + ".go").touch()
            code, output = run.wait()
            assert code in (AGAIN, 0), output
            assert code == AGAIN or not later, output
            assert "Traceback" not in output, output
            remount("rw,size=64m")
            if code:
                target.finish()
        target.judge()
    return f"exit {code}"


CHANGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "replaced": lambda path: rewrite(path, "Replaced. "),
    "appended": lambda path: rewrite(path, "", more=3),
}


def rewrite(path: Path, before: str, more: int = 0) -> None:
    table = pq.read_table(path)
    texts = [before + text for text in table["text"].to_pylist()]
    ids = table["id"].to_pylist() + [f"{path.stem}-new-{n}" for n in range(more)]
    beside = path.with_suffix(".new")
    written = pa.table({"id": ids, "text": texts + ["A new proposal."] * more})
    pq.write_table(written, beside, row_group_size=5)
    beside.replace(path)


@patiently
def corpus_changes(world: World, dice: random.Random, change: str = "", when: str = "", store: str = "") -> str:
    """A file is deleted, replaced or appended to after the plan, before or while a worker reads it."""
    change = change or dice.choice(list(CHANGES))
    when = when or dice.choice(["before", "after"])
    store = store or dice.choice(world.stores)
    folder = world.folder / f"changing-{random.getrandbits(64):x}"
    corpus = Path(shutil.copytree(world.corpus, folder))
    own = replace(world, corpus=corpus)
    target = own.s3() if store == "s3" else own.local()
    planned_ids = own.ids
    file = sorted(corpus.rglob("*.parquet"))[-1]
    uri = upload(target, corpus, file) if store == "s3" else str(file)
    fault = hook(target, "read", "open", file.name, when=when, do="wait", **IN_WORKER)
    run = target.start(faults=[fault])
    assert wait_for(run, lambda: Path(fault["marker"]).exists()), run.wait()
    CHANGES[change](file)
    if store == "s3":
        target.table.filesystem.rm(uri)
        if file.exists():
            target.table.filesystem.put_file(str(file), uri)
    Path(fault["marker"] + ".go").touch()
    code, output = run.wait()
    state = "is gone" if change == "deleted" else "was replaced"
    assert code == AGAIN, output
    said = " ".join(output.split())
    assert f"{uri} {state} after this run was planned" in said, output
    assert "run again: finished units are kept" in said, output
    assert not target.table.manifests(), "a snapshot of a corpus that never was"
    target.finish()
    now = replace(own).ids  # read again
    assert (now == planned_ids) == (change == "replaced")
    (manifest,) = target.table.manifests().values()
    check_whole(target.table, manifest, [now])
    check_texts(target, corpus, manifest)
    return change


def upload(target: Target, corpus: Path, file: Path) -> str:
    """Puts the corpus into the target's bucket; the URI of one of its files there."""
    uri = f"s3://{target.table.root.partition('/')[0]}/corpus"
    target.table.filesystem.put(f"{corpus}/", uri, recursive=True)
    target.settings += (f"corpus.uris={uri}/**",)
    return f"{uri}/{file.relative_to(corpus)}"


def check_texts(target: Target, corpus: Path, manifest: dict[str, Any]) -> None:
    """Each prediction is of the text that the corpus has now."""

    now = {}
    for file in corpus.rglob("*.parquet"):
        for row in pq.read_table(file).to_pylist():
            now[row["id"]] = hashlib.sha256(row["text"].encode()).hexdigest()
    files = [file["path"] for file in manifest["files"] if file["kind"] == "data"]
    for blob in map(target.table.read, files):
        for row in pq.read_table(io.BytesIO(blob), columns=["id", "content_sha256"]).to_pylist():
            assert now.get(row["id"], row["content_sha256"]) == row["content_sha256"], row["id"]


ALL: dict[str, Callable[[World, random.Random], str]] = {
    "a step of publishing killed": any_step,
    "driver, then all killed": driver_killed,
    "reader, actor, keeper killed": workers_killed,
    "runs at once": at_once,
    "weather": weather,
    "weather while publishing": weather_publishing,
    "outage while publishing": outage,
    "access withdrawn": denied,
    "server restarted": server_restarted,
    "disk full": disk_full,
    "disk read-only": read_only,
    "corpus changes": corpus_changes,
}
