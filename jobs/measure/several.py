"""What one reading for two checkpoints saves: `python -m jobs.measure.several --corpus 'folder/*.parquet'`.

Labels the same documents with the sample's checkpoint and with one of its shape and vocabulary that has random weights:
in two runs, and in one run of both, in turn, on one Ray that was started before. Beside the whole runs, reading and
tokenizing alone are measured in this process, where the seconds in the packer and the bytes that were read can be
counted.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import pyarrow as pa
import typer

from jobs.label import run_jobs
from jobs.label_work import connected
from jobs.measure.page import Page, made_by, markdown_table
from jobs.sample import CHECKPOINT
from jobs.terminal.console import console
from pipeline.added_tokens import SPIECE
from pipeline.bigbird.classifier import Classifier
from pipeline.checkpoints.config import read_encoder, read_head
from pipeline.checkpoints.json_file import JsonFile
from pipeline.checkpoints.names import save
from pipeline.cluster.read_stage import ReadStage
from pipeline.config.label import Job, parse_job
from pipeline.planning.plan import Plan, plans_of
from pipeline.planning.scoring import Scoring
from pipeline.planning.shared_reading import TableShare, shared_passes
from pipeline.planning.survey import make_surveys

WAY_COLUMNS = ("", "the whole, s", "reading and tokenizing alone, s", "tokenizing, s", "read, MB")


class ReadingCost(NamedTuple):
    """What reading and tokenizing took, in this process."""

    seconds: float
    tokenizing: float  # seconds of these in the packer
    bytes: float  # that the system's calls for reading gave


class WayCost(NamedTuple):
    """What one way took: seconds of the whole, then its ReadingCost."""

    seconds: float
    reading: float
    tokenizing: float
    bytes: float


def several(
    corpus: Annotated[str, typer.Option(help="Documents to label: a file, a folder or a glob.")],
    rounds: Annotated[int, typer.Option(help="Of both ways in turn; medians are compared.")] = 3,
    unit_bytes: Annotated[int, typer.Option(help="Text in one unit.")] = 300_000,
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Compare two runs with one run of two checkpoints."""
    page = Page(markdown)
    with tempfile.TemporaryDirectory() as scratch:
        second = twin(Path(scratch) / "twin")
        jobs = [
            parse_job(
                "",
                [
                    f"corpus.uris={corpus}",
                    f"checkpoint.uri={checkpoint}",
                    f"table.uri={scratch}/tables/{checkpoint.name}",
                    f"units.text_bytes={unit_bytes}",
                    "max_errors=100%",
                ],
            )
            for checkpoint in (CHECKPOINT, second)
        ]
        plans = plans_of(make_surveys(jobs))
        reading_cost(plans)  # so that both ways find the files in the system's cache
        costs: dict[str, list[WayCost]] = {"two runs": [], "one run": []}
        with connected(jobs[0]):
            labelling_seconds([jobs])  # Ray's workers are there from now on
            for _ in range(rounds):
                apart = ReadingCost(*map(sum, zip(*[reading_cost([plan]) for plan in plans], strict=True)))
                costs["two runs"].append(WayCost(labelling_seconds([[job] for job in jobs]), *apart))
                costs["one run"].append(WayCost(labelling_seconds([jobs]), *reading_cost(plans)))
    table = way_table(costs)
    console.print(table, soft_wrap=True)
    documents = f"{sum(unit.documents or 0 for unit in plans[0].units):,} documents, {len(plans[0].units)} units, "
    page.write(made_by(), [f"{documents}{plans[0].scoring.dtype}; medians of {rounds} rounds.", table])


def way_table(costs: dict[str, list[WayCost]]) -> str:
    """Makes a table of the medians, a row for each way."""
    rows: list[tuple[str, ...]] = [WAY_COLUMNS]
    for name, of_rounds in costs.items():
        cost = WayCost(*map(statistics.median, zip(*of_rounds, strict=True)))
        seconds = (cost.seconds, cost.reading, cost.tokenizing)
        rows.append((name, *(f"{value:.2f}" for value in seconds), f"{cost.bytes / 1e6:.1f}"))
    return markdown_table(rows)


def twin(path: Path) -> Path:
    """Writes a checkpoint of the sample's shape and vocabulary, with random weights."""
    source = JsonFile.read(CHECKPOINT / "config.json")
    save(Classifier.fresh(read_encoder(source), read_head(source, JsonFile(path, {})), seed=0), path)
    shutil.copy(CHECKPOINT / SPIECE, path)
    return path


def labelling_seconds(runs: Sequence[Sequence[Job]]) -> float:
    """Times runs, one after the other, that label their tables from scratch."""
    started = time.perf_counter()
    for jobs in runs:
        run_jobs(jobs)
    seconds = time.perf_counter() - started
    for job in (job for jobs in runs for job in jobs):
        shutil.rmtree(job.table.uri)
    return seconds


@dataclass(frozen=True, slots=True)
class TimedReadStage(ReadStage):
    """A stage that counts the seconds in its packer."""

    spent: list[float]

    def _packs(self, scoring: Scoring, unit: str, documents: pa.Table) -> pa.Table:
        started = time.perf_counter()
        packs = ReadStage._packs(self, scoring, unit, documents)
        self.spent.append(time.perf_counter() - started)
        return packs


def reading_cost(plans: Sequence[Plan]) -> ReadingCost:
    """Does what the tasks do that read for these tables, of every unit that is missing; keeps nothing of it."""
    spent: list[float] = []
    stage = TimedReadStage(plans[0].storage, tuple(plan.work() for plan in plans), spent)
    before, started = _bytes_read(), time.perf_counter()
    for one in shared_passes(TableShare(table, units) for table, plan in enumerate(plans) for units in plan.passes):
        for _ in stage(one):
            pass
    return ReadingCost(time.perf_counter() - started, sum(spent), _bytes_read() - before)


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


if __name__ == "__main__":
    typer.run(several)
