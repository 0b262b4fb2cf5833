"""What the job costs beside the encoder: `python -m jobs.measure.overhead --corpus 'folder/*.parquet'`.

Labels the same documents with the predictor alone, in this process, on packs made beforehand, and through the whole
job, which reads, tokenizes, packs, moves, encodes, aggregates and writes fragments. What a run takes once, until its
first actor computes, is shown apart: the longer a run, the less it counts.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from jobs.measure.page import Page, made_by, markdown_table
from jobs.sample import CHECKPOINT
from jobs.terminal.console import console
from pipeline.added_tokens import SPIECE
from pipeline.bigbird.classifier import Classifier
from pipeline.checkpoints.config import read_encoder, read_head
from pipeline.checkpoints.json_file import JsonFile
from pipeline.checkpoints.names import save
from pipeline.cluster.connection import actor_threads, ray_cluster
from pipeline.cluster.read_stage import ReadStage
from pipeline.config.label import Job, parse_job
from pipeline.inference.predictor import Predictor
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.shared_reading import SharedPass, TableShare
from pipeline.runs.unit_done import UnitDone
from pipeline.text.packing import split_packs


@dataclass(frozen=True, slots=True)
class LabellingTimes:
    """Where the seconds of one labelling run with one actor went.

    Attributes:
        start: from the graph's start until the actor computed its first unit.
        computing: from then on until the last unit was reported.
        encode: of `computing`, in the encoder.
        wait: of `computing`, for packs.
        beside: of all readers and writers together, in that time and on the same cores.
    """

    start: float
    computing: float
    encode: float
    wait: float
    beside: float

    @classmethod
    def of(cls, ends: Sequence[tuple[float, UnitDone]]) -> "LabellingTimes":
        """Adds up units, each with when it was reported, in seconds since the graph's start."""
        units = [unit for _, unit in ends]
        encode, wait = sum(unit.encode_s for unit in units), sum(unit.wait_s for unit in units[1:])
        last = max(at for at, _ in ends)
        # reports are late, the first one most: the process that writes fragments is started for it
        start = min(last - encode - wait, *(at - unit.encode_s for at, unit in ends))
        return cls(
            start=start,
            computing=last - start,
            encode=encode,
            wait=wait,
            beside=sum(unit.read_s + unit.text_s + unit.write_s for unit in units),
        )


def overhead(
    corpus: Annotated[str, typer.Option(help="Documents to label: a file, a folder or a glob.")],
    checkpoint: Annotated[str | None, typer.Option(help="By default one of BigBird-base's shape is made.")] = None,
    documents: Annotated[int | None, typer.Option(help="How many of them; by default all.")] = None,
    rounds: Annotated[int, typer.Option(help="Runs of each, interleaved; medians are compared.")] = 1,
    unit_bytes: Annotated[str, typer.Option(help="Text in one unit.")] = "16MB",
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Compare labelling with the bare predictor on the same packs."""
    page = Page(markdown)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = checkpoint or str(base_shaped_checkpoint(Path(scratch) / "checkpoint"))
        settings = {"corpus.uris": corpus, "checkpoint.uri": checkpoint, "units.text_bytes": unit_bytes}
        settings |= {"corpus.id_column": "id", "table.uri": f"{scratch}/table"}
        job = parse_job("", [f"{name}={value}" for name, value in settings.items()])
        plan = make_plan(job, documents)
        reader = ReadStage(plan.storage, (plan.work(),))
        packs = [unit for units in plan.passes for unit in reader(SharedPass(units, (TableShare(0, units),)))]
        tokens = sum(len(unit["tokens"][0]) for unit in packs)
        n_documents = sum(len(unit["documents"].chunk(0).flatten()) for unit in packs)
        about = f"{n_documents:,} documents, {tokens:,} tokens, {len(packs)} units, {plan.scoring.dtype}"
        console.print(about)
        bare, labelled = [], []
        for _ in range(rounds):
            bare.append(bare_seconds(plan, packs))
            labelled.append(labelling_times(job, documents))
            console.print(f"bare predictor {bare[-1]:.1f} s, {labelled[-1]}")
            shutil.rmtree(f"{scratch}/table")
    rows = overhead_rows(tokens, bare, labelled)
    for row in rows:
        console.print(" · ".join(row))
    page.write(made_by(), [f"{about}. Medians of {rounds} runs of each.", markdown_table(rows)])


def overhead_rows(tokens: int, bare: Sequence[float], labelled: Sequence[LabellingTimes]) -> list[tuple[str, ...]]:
    """Makes what is shown: medians, and their ratios to the bare predictor's."""
    alone = statistics.median(bare)
    rows: list[tuple[str, ...]] = [("", "s", "of the bare predictor's", "tokens/s")]
    rows.append(("bare predictor", f"{alone:.1f}", "1.000", f"{tokens / alone:,.0f}"))

    def median(name: str) -> float:
        return statistics.median(float(getattr(times, name)) for times in labelled)

    computing = median("computing")
    rows.append(
        (
            "the job, from its first unit to its last",
            f"{computing:.1f}",
            f"{computing / alone:.3f}",
            f"{tokens / computing:,.0f}",
        )
    )
    parts = {
        "of it in the encoder": "encode",
        "of it waiting for packs": "wait",
        "reading, tokenizing and writing, on the same cores": "beside",
        "before it, until the actor computes": "start",
    }
    rows += [(title, f"{median(name):.1f}", f"{median(name) / alone:.3f}", "") for title, name in parts.items()]
    return rows


def base_shaped_checkpoint(path: Path) -> Path:
    """Writes a checkpoint of BigBird-base's sizes, random weights, the sample's labels and vocabulary."""
    source = JsonFile.read(CHECKPOINT / "config.json")
    head = read_head(source, JsonFile(path, {}))
    encoder = read_encoder(JsonFile(path, {"model_type": "big_bird"}))
    save(Classifier.fresh(encoder, head, seed=0), path)
    shutil.copy(CHECKPOINT / SPIECE, path)
    return path


def bare_seconds(plan: Plan, packs: list[pa.Table]) -> float:
    """Times the predictor alone, loaded beforehand, on packs that lie ready."""
    n_threads, dtype = actor_threads(plan.job.compute), plan.scoring.dtype
    predictor = Predictor.load(plan.checkpoint.path, device="cpu", dtype=dtype, threads=n_threads)
    started = time.perf_counter()
    logits = [row for unit in packs for row in predictor.predict_all(split_packs(unit))]
    seconds = time.perf_counter() - started
    assert all(np.isfinite(logits_WL).all() for logits_WL in logits)
    return seconds


def labelling_times(job: Job, documents: int | None) -> LabellingTimes:
    """Labels into a new table, and times it."""
    plan = make_plan(job, documents)
    with ray_cluster(job):
        from pipeline.cluster.waves import label_units  # imports ray, which the cluster has prepared

        started = time.perf_counter()
        units = label_units([plan], ["overhead"], console.print)
        ends = [(time.perf_counter() - started, unit) for unit in units]
    assert {unit.unit for _, unit in ends} == set(plan.unit_ids)
    return LabellingTimes.of(ends)


if __name__ == "__main__":
    typer.run(overhead)
