"""What the fault tests and the soak run on: a corpus, its undisturbed table, runs of the real command line."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from jobs.label import run_job
from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.label import parse_job
from pipeline.planning.plan import make_plan
from pipeline.processes import kill_processes
from pipeline.tables.object_names import object_name
from tests.faults.judge import Reader, Table
from tests.labelling import label_here
from tests.processes import on_ray
from tests.s3 import S3Server

P = ParamSpec("P")
T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent
HOOKS = ROOT / "tests" / "hooks"
RUN_VARIABLE = "ROOKERY_TEST_RUN"  # in the environment of a run and of all that it starts
# Only guards against hanging. A run takes 10 s here and has been seen to take 270 s beside others; an exit for want of
# an answer takes up to 5 minutes with the product's own patience.
RUN_SECONDS = 500
GONE_SECONDS = 180  # Ray's two agents want to tell the dead GCS first, for a minute
SMALL = (
    "units.text_bytes=15000",
    "text.max_tokens=256",
    "text.long_documents=head",
    "table.buckets=1",
    "table.partition_by=half",
    "compute.num_cpus=1",
    "compute.dtype=fp32",
    "max_errors=100%",
)


class RayDidNotStart(Exception):
    """Not within its own 30 s, as happens on a busy machine: nothing can be told of the run."""


def patiently(function: Callable[P, T]) -> Callable[P, T]:
    """Does it again where Ray did not start."""

    @wraps(function)
    def wrapper(*arguments: P.args, **named: P.kwargs) -> T:
        for _ in range(4):
            with contextlib.suppress(RayDidNotStart):
                return function(*arguments, **named)
        return function(*arguments, **named)

    return wrapper


@dataclass
class Run:
    """One run of the command line, in processes that can be told from all others."""

    process: subprocess.Popen[str]
    name: str

    def wait(self) -> tuple[int, str]:
        """Its exit code and all that it said."""
        try:
            output, _ = self.process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self.clean_up()
            raise
        if "Ray did not start" in output:
            raise RayDidNotStart
        return self.process.returncode, output

    def processes(self) -> list[int]:
        """Its driver, and daemons and workers of a Ray that it started: a shared Ray ends a driver's workers itself."""
        mark = f"{RUN_VARIABLE}={self.name}".encode()
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if mark in environ.read_bytes().split(b"\0"):
                    found.append(int(environ.parent.name))
        return found

    def named(self, title: str) -> list[int]:
        """Those of its processes whose title contains this: Ray names workers after what they run."""
        found = []
        for process in self.processes():
            with contextlib.suppress(OSError):
                if title in Path(f"/proc/{process}/cmdline").read_text():
                    found.append(process)
        return found

    def kill(self, processes: Sequence[int]) -> bool:
        """False if there is none."""
        kill_processes(processes)
        return bool(processes)

    def kill_driver(self) -> None:
        self.kill([self.process.pid])
        self.process.communicate()

    def left_over(self) -> list[str]:
        """What still runs of it when all should have ended by themselves."""
        deadline = time.monotonic() + GONE_SECONDS
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.2)
        commands = []
        for process in self.processes():
            with contextlib.suppress(OSError):
                commands.append(Path(f"/proc/{process}/cmdline").read_text().replace("\0", " "))
        return commands

    def clean_up(self) -> None:
        while processes := self.processes():
            self.kill(processes)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.communicate(timeout=1)
        if self.process.returncode is None:  # one that was killed before is not among them, and nobody waited for it
            self.process.communicate()


@dataclass
class Target:
    """A table of its own to run into."""

    world: "World"
    table: Table
    settings: tuple[str, ...]
    environment: dict[str, str]

    def start(self, *settings: str, faults: Sequence[dict[str, Any]] = (), log: str = "") -> Run:
        """Starts `rookery label`."""
        name = uuid.uuid4().hex
        command = [sys.executable, "-m", "jobs.cli", "label", "--config", os.devnull]
        environment = self.environment | {
            "FAULTS": json.dumps(faults),
            "FAULTS_LOG": log,
            "PYTHONPATH": f"{HOOKS}{os.pathsep}{ROOT}",
        }
        inherited = dict(os.environ)
        if address := self.world.ray_address:
            environment = on_ray(address, environment)
        else:
            inherited = {key: value for key, value in inherited.items() if not key.startswith("RAY_")}
        process = subprocess.Popen(
            [*command, *(part for setting in self.job_settings(*settings) for part in ("--set", setting))],
            cwd=ROOT,
            env=inherited | environment | {RUN_VARIABLE: name},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        run = Run(process, name)
        self.world.runs.append(run)
        return run

    def job_settings(self, *settings: str) -> list[str]:
        return ["corpus.id_column=id", f"checkpoint.uri={CHECKPOINT}", *self.settings, *settings]

    def run(self, *settings: str, **named: Any) -> tuple[int, str]:
        return self.start(*settings, **named).wait()

    def finish(self, *settings: str) -> None:
        """The run after a fault: nothing special about it, and it must end well.

        In this process, unless it needs credentials: a process of its own takes longer to begin than its work.
        """
        if self.environment:
            code, output = self.run(*settings)
            assert code == 0, output
        else:
            assert run_job(parse_job("", self.job_settings(*settings)))

    def finish_without_ray(self, *settings: str) -> None:
        """Gives the table that every run has to end with, whatever happens to it on Ray."""
        label_here(make_plan(parse_job("", self.job_settings(*settings))))
        self.finish(*settings)

    def prefill(self) -> None:
        """All units done and nothing counted yet, so that a run only publishes."""
        units, own = self.world.undisturbed.root + "/_units", f"{self.table.root}/_units"
        if "s3" in self.table.filesystem.protocol:
            self.table.filesystem.put(units, own, recursive=True)
        else:
            shutil.copytree(units, own, dirs_exist_ok=True)
        self.table.filesystem.rm(f"{own}/tallies", recursive=True)

    def fragments(self) -> dict[str, Any]:
        """Finished units: their fragments, and when each was written."""
        found = self.table.filesystem.find(f"{self.table.root}/_units", detail=True)
        return {
            name: info.get("LastModified") or info["mtime"] for name, info in found.items() if name.endswith(".parquet")
        }

    def reader(self) -> Reader:
        return Reader(self.table, [self.world.ids])

    def judge(self) -> None:
        """The table is what an undisturbed run gives, and nothing of it has a name that a vacuum wouldn't know."""
        assert self.table.published() == self.world.expected
        assert [name for name in self.table.names("") if object_name(name) is None] == []


@dataclass
class World:
    """Everything that is made once."""

    folder: Path
    server: Callable[[], S3Server]
    corpus: Path
    settings: tuple[str, ...] = SMALL
    runs: list[Run] = field(default_factory=list)  # to be cleaned up after
    stores: tuple[str, ...] = ("local", "s3")  # those that the dice choose from
    ray_address: str = ""  # of a Ray that the runs share; each starts its own without one

    @cached_property
    def ids(self) -> set[str]:
        found: set[str] = set()
        for file in self.corpus.glob("**/*.parquet"):
            found |= set(pq.read_table(file, columns=["id"])["id"].to_pylist())
        for file in self.corpus.glob("**/*.jsonl*"):
            data = file.read_bytes()
            lines = zstandard.decompress(data) if file.suffix == ".zst" else data
            found |= {json.loads(line)["id"] for line in lines.splitlines()}
        return found

    @cached_property
    def undisturbed(self) -> Table:
        target = self.local("undisturbed")
        target.finish_without_ray()
        return target.table

    @cached_property
    def expected(self) -> dict[str, Any]:
        return self.undisturbed.published()

    @property
    def n_units(self) -> int:
        return sum(name.endswith(".parquet") for name in self.undisturbed.names("_units"))

    @property
    def has_errors(self) -> bool:
        """Whether a document of the corpus can't be labelled."""
        return any(name.startswith("errors/") for name in self.expected)

    def local(self, name: str = "", parent: Path | None = None) -> Target:
        folder = (parent or self.folder) / (name or uuid.uuid4().hex)
        table = Table(fsspec.filesystem("file"), str(folder), str(folder))
        return self._target(table, {})

    def s3(self, endpoint: str = "") -> Target:
        server = self.server()
        filesystem, bucket = server.filesystem(), server.new_bucket()
        table = Table(filesystem, f"{bucket}/table", f"s3://{bucket}/table")
        target = self._target(table, server.environment())
        target.settings += (f"storage.endpoint_url={endpoint or server.endpoint}",)
        return target

    def _target(self, table: Table, environment: dict[str, str]) -> Target:
        settings = (f"corpus.uris={self.corpus}/**", f"table.uri={table.uri}", *self.settings)
        return Target(self, table, settings, environment)


def write_corpus(folder: Path, files: int = 4, documents: int = 10) -> Path:
    """Real documents in several files of two partitions, the last a stream of parts with one that can't be labelled."""
    found = pq.read_table(CORPUS / "test.parquet", columns=["id", "text"]).to_pylist()
    rows = [{"id": row["id"], "text": row["text"][:3000]} for row in found]
    halves = [folder / "half=1", folder / "half=2"]
    for half in halves:
        half.mkdir(parents=True)
    for file in range(files):
        part = pa.Table.from_pylist(rows[file * documents : (file + 1) * documents])
        path = halves[file * 2 // files] / f"{file}.parquet"
        pq.write_table(part, path, row_group_size=5)
    lines = [*rows[files * documents :][:documents], {"id": "bad", "text": None}]
    stream = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (halves[1] / "lines.jsonl.zst").write_bytes(zstandard.compress(stream))
    return folder


def wait_for(run: Run, condition: Callable[[], bool]) -> bool:
    """Whether it came true before the run ended."""
    deadline = time.monotonic() + RUN_SECONDS
    while run.process.poll() is None:
        if condition():
            return True
        assert time.monotonic() < deadline, "the run hangs"
        time.sleep(0.02)
    return False


def restart_radosgw(server: S3Server, away: float) -> None:
    """Kills the S3 server, and starts it again over the same objects."""
    pid_file = server.folder / "run" / "radosgw.pid"
    process = int(pid_file.read_text())
    command = Path(f"/proc/{process}/cmdline").read_text().rstrip("\0").split("\0")
    os.kill(process, signal.SIGKILL)
    time.sleep(away)
    log = str(server.folder / "log" / "radosgw-again.out")
    script = 'setsid "$@" </dev/null >"$0" 2>&1 & echo $!'
    started = subprocess.run(["bash", "-c", script, log, *command], capture_output=True, text=True, check=True)
    pid_file.write_text(started.stdout)
    port, deadline = urlsplit(server.endpoint).port, time.monotonic() + RUN_SECONDS
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        assert time.monotonic() < deadline, "radosgw did not come back"
        time.sleep(0.1)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], object]]:
    """A tmpfs, and what mounts it again with other options. Raises OSError where mounting is refused."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "rookery-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise OSError(mounted.stderr.strip())
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
