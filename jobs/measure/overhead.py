"""What the job costs beside the encoder: `python -m jobs.measure.overhead --corpus 'folder/*.parquet'`.

Labels the same documents twice with a BigBird-base-shaped checkpoint (random weights, the sample's vocabulary): once
with the predictor alone, in this process, on packs made beforehand; once through the whole job, whose labelling phase
reads, tokenizes, packs, moves, encodes, aggregates and writes fragments. Ray's start is left out and shown apart; the
encoder actor's start and its loading of the weights are inside the phase.
"""

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from jobs.measure.page import Page, made_by
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
from pipeline.text.packing import split_packs


def overhead(
    corpus: Annotated[str, typer.Option(help="Documents to label: a file, a folder or a glob.")],
    documents: Annotated[int, typer.Option(help="How many.")] = 64,
    rounds: Annotated[int, typer.Option(help="Runs of each, interleaved; medians are compared.")] = 1,
    unit_bytes: Annotated[int, typer.Option(help="Text in one unit.")] = 300_000,
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Compare the job's labelling phase with the bare predictor on the same packs."""
    page = Page(markdown)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = base_shaped_checkpoint(Path(scratch) / "checkpoint")
        job = parse_job(
            "",
            [
                f"corpus.uris={corpus}",
                f"checkpoint.uri={checkpoint}",
                f"table.uri={scratch}/table",
                f"units.text_bytes={unit_bytes}",
            ],
        )
        plan = make_plan(job, documents)
        reader = ReadStage(plan.storage, (plan.work(),))
        packs = [unit for units in plan.passes for unit in reader(SharedPass(units, (TableShare(0, units),)))]
        tokens = sum(len(unit["tokens"][0]) for unit in packs)
        console.print(f"{documents} documents, {tokens:,} tokens, {len(packs)} units, {plan.scoring.dtype}")
        bare, labelled = [], []
        for _ in range(rounds):
            bare.append(bare_seconds(plan, packs))
            started, labelling = job_seconds(job, documents)
            labelled.append(labelling)
            console.print(
                f"bare predictor {bare[-1]:.1f} s, labelling phase {labelling:.1f} s (Ray's start {started:.1f} s)"
            )
            shutil.rmtree(f"{scratch}/table")
    ratio = statistics.median(labelled) / statistics.median(bare)
    outcome = f"labelling phase / bare predictor: {ratio:.3f} ({tokens / statistics.median(labelled):,.0f} tokens/s)"
    console.print(outcome)
    page.write(made_by(), [f"{documents} documents, {tokens:,} tokens: {outcome}."])


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


def job_seconds(job: Job, documents: int) -> tuple[float, float]:
    """Times Ray's start, and the labelling phase from its first to its last unit."""
    plan = make_plan(job, documents)
    started = time.perf_counter()
    with ray_cluster(job):
        from pipeline.cluster.waves import label_units  # imports ray, which the cluster has prepared

        ready = time.perf_counter()
        labelled = sum(unit.documents for unit in label_units([plan], ["overhead"], console.print))
        seconds = time.perf_counter() - ready
    assert labelled == documents, f"{labelled} of {documents} documents were labelled"
    return ready - started, seconds


if __name__ == "__main__":
    typer.run(overhead)
