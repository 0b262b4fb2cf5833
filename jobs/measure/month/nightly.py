"""A month's nights, one after the other: each is run, timed, and compared with a labelling from scratch."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from jobs.measure.month.living_corpus import LivingCorpus
from jobs.measure.month.nights import Night
from pipeline.config.label import Job, parse_job
from pipeline.errors import HeldBackError
from pipeline.storage.objects import Storage
from pipeline.tables.erasure import erase_documents
from pipeline.tables.predictions import open_errors, open_predictions
from pipeline.tables.reachability import Retention
from pipeline.tables.rollback import roll_back
from pipeline.tables.snapshots import Manifest, Snapshots
from pipeline.tables.vacuum import vacuum

WHO = {"by": "a month"}
MakeTrue = Callable[[Job], Manifest]


@dataclass(frozen=True, slots=True)
class NightOutcome:
    """What a night came to. `right`: its rows are those of a labelling from scratch, in every bit."""

    night: Night
    snapshot: int
    documents: int
    computed: int
    taken_over: int
    tokens: int
    seconds: float
    right: bool


@dataclass
class Month:
    """A table, its corpus, and the checkpoint that is good by now. `label` makes the table of a job true."""

    folder: Path
    corpus: LivingCorpus
    checkpoint: Path
    label: MakeTrue
    settings: tuple[str, ...] = ()
    expected: dict[int, pa.Table] = field(default_factory=dict)  # rows, by the number of a snapshot
    erased: set[str] = field(default_factory=set)
    _number: int = 0

    @property
    def snapshots(self) -> Snapshots:
        return Snapshots(Storage(), str(self.folder / "table"))

    def run(self, nights: list[Night]) -> Iterator[NightOutcome]:
        """Runs the nights; yields each when it is over."""
        for self._number, night in enumerate(nights, 1):
            night.change(self.corpus)
            before = self._latest()
            started = time.perf_counter()
            self._happen(night)
            seconds = time.perf_counter() - started
            latest = self._latest()
            assert latest is not None
            work = latest.run.get("work", {}) if before is None or latest.snapshot != before.snapshot else {}
            yield NightOutcome(
                night=night,
                snapshot=latest.snapshot,
                documents=latest.counts["documents"],
                computed=work.get("documents_computed", 0),
                taken_over=work.get("documents_taken_over", 0),
                tokens=work.get("tokens", 0),
                seconds=seconds,
                right=self._is_right(latest, night),
            )

    def _happen(self, night: Night) -> None:
        match night.happening:
            case "new checkpoint":
                self._new_checkpoint("better", _nudged)
                self.label(self._job())
            case "bad checkpoint":
                self._held_back()
            case "new temperature":
                settings = self.checkpoint / "rookery.json"
                settings.write_text(json.dumps(json.loads(settings.read_text()) | {"temperature": 1.5}))
                self.label(self._job())
            case "crash":
                self._crash()
                self.label(self._job())
            case "two at once":
                other = self._command()
                self.label(self._job())
                assert other.wait() == 0
            case "rollback":
                roll_back(self.snapshots, sorted(self.expected)[-2], WHO)
            case "erase":
                self._erase()
            case "vacuum":
                vacuum(self.snapshots, Retention(snapshots=3, days=0, grace_days=0), lambda _: None)
            case "label":
                self.label(self._job())

    def _held_back(self) -> None:
        good = self.checkpoint
        self._new_checkpoint("bad", _mixed_up)
        try:
            self.label(self._job())
        except HeldBackError:
            return
        finally:
            self.checkpoint = good
        raise AssertionError("no gate has held the bad checkpoint back")

    def _crash(self) -> None:
        """Kills a run with all of its memory when it has done something, or is over."""
        done = set(self._fragments())
        driver = self._command()
        while driver.poll() is None and set(self._fragments()) == done:
            time.sleep(0.02)
        driver.kill()
        driver.wait()

    def _fragments(self) -> Iterator[Path]:
        return (self.folder / "table" / "_units").glob("*/*/*.parquet")

    def _command(self) -> "subprocess.Popen[bytes]":
        job = self.folder / "job.yaml"
        job.write_text(yaml.safe_dump(self._job().model_dump(mode="json", exclude_unset=True)))
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.label", "--config", str(job)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _erase(self) -> None:
        ids = {self.corpus.dice.choice(documents).id for documents in list(self.corpus.files.values())[:2]}
        erase_documents(self.snapshots, ids, lambda _: None)
        self.erased |= ids
        self.expected = {number: self._without_erased(rows) for number, rows in self.expected.items()}

    def _new_checkpoint(self, name: str, change: Callable[[Tensor], Tensor]) -> None:
        self.checkpoint = Path(shutil.copytree(self.checkpoint, self.folder / f"{name}-{self._number}"))
        weights = load_file(self.checkpoint / "model.safetensors")
        for tensor in (weights[key] for key in list(weights) if key.startswith("classifier")):
            tensor.copy_(change(tensor))
        save_file(weights, self.checkpoint / "model.safetensors", {"format": "pt"})

    def _job(self, table: str = "table", *settings: str) -> Job:
        return parse_job(
            "",
            [
                f"corpus.uris={self.folder}/corpus/*",  # of two formats
                "corpus.id_column=id",
                f"checkpoint.uri={self.checkpoint}",
                f"table.uri={self.folder}/{table}",
                *self.settings,
                *settings,
            ],
        )

    def _is_right(self, latest: Manifest, night: Night) -> bool:
        """Compares every kept snapshot with what it was, and the newest with a labelling from scratch."""
        if latest.snapshot not in self.expected:
            self.expected[latest.snapshot] = (
                self.expected[sorted(self.expected)[-2]] if night.happening == "rollback" else self._from_scratch()
            )
        kept = [manifest for manifest in map(self.snapshots.find, sorted(self.expected)[-3:]) if manifest]
        return latest in kept and all(
            self._rows(self.snapshots, one).equals(self.expected[one.snapshot]) for one in kept
        )

    def _from_scratch(self) -> pa.Table:
        table = f"from-scratch-{self._number}"
        self.label(self._job(table, "gates={}"))
        snapshots = Snapshots(Storage(), str(self.folder / table))
        manifest = snapshots.latest()
        assert manifest is not None
        rows = self._without_erased(self._rows(snapshots, manifest))
        shutil.rmtree(self.folder / table)
        return rows

    def _without_erased(self, rows: pa.Table) -> pa.Table:
        return rows.filter(pc.invert(pc.is_in(rows["id"], pa.array(sorted(self.erased), pa.string()))))

    def _latest(self) -> Manifest | None:
        return self.snapshots.latest()

    def _rows(self, snapshots: Snapshots, manifest: Manifest) -> pa.Table:
        tables = [open_predictions(snapshots, manifest).to_table(), open_errors(snapshots, manifest).to_table()]
        return pa.concat_tables(tables, promote_options="default").sort_by("id").combine_chunks()


def _nudged(weights: Tensor) -> Tensor:
    """Other scores, and hardly another label."""
    return weights * 1.001


def _mixed_up(weights: Tensor) -> Tensor:
    """Every label's score for the next one."""
    return weights.roll(1, 0)
