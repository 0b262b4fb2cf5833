"""What the person at the terminal sees of training: the data, a line every few seconds, the scores."""

from typing import Any

from rich.console import Console

from pipeline.training.documents import SPLITS
from pipeline.training.prepare import Prepared
from pipeline.training.settings import TrainJob

console = Console(highlight=False, soft_wrap=True)


def prepared(job: TrainJob, prepared: Prepared) -> None:
    """The data, before the first step."""
    for split in SPLITS:
        if prepared.documents[split]:
            counts = ", ".join(f"{name} {n:,}" for name, n in prepared.counts[split].items())
            console.print(
                f"{split:10}  {prepared.documents[split]:,} documents, {prepared.tokens[split]:,} tokens: {counts}",
                markup=False,
            )
    if prepared.left_out:
        console.print(f"left out    {prepared.left_out:,} documents of no split")
    encoder, head = prepared.encoder, prepared.head
    console.print(
        f"model       {encoder.layers} layers of {encoder.hidden_size}, vocabulary {encoder.vocab_size:,}, "
        f"pooling {head.pooling}, head {head.head}, {head.problem_type}"
    )


def progress(record: dict[str, Any]) -> None:
    """One report of a worker."""
    epoch = f"{record['phase']}  epoch {record['epoch']}/{record['epochs']}"
    if record["kind"] == "step":
        console.print(
            f"{epoch}  step {record['step']}/{record['steps']}  loss {record['loss']:.4f}  {record['tokens_per_s']:,.0f} tokens/s"
        )
    elif "validation" in record:
        found = record["validation"]
        console.print(
            f"{epoch}  validation loss {found['loss']:.4f}, {found['name']} {found['score']:.4f}"
        )


def tell(line: str) -> None:
    """What training waits for."""
    console.print(line, style="yellow", markup=False)


def summary(job: TrainJob, scores: dict[str, Any]) -> None:
    """Where the checkpoint is, and how good."""
    console.print(f"\n[bold green]Trained[/] {job.output.folder}")
    for split, found in scores.items():
        console.print(
            f"{split:10}  {found['documents']:,} documents: loss {found['loss']:.4f}, {found['name']} {found['score']:.4f}"
        )


def done_already(job: TrainJob) -> None:
    """A run with nothing to do."""
    console.print(f"[green]Nothing to do:[/] this job has already made {job.output.folder}.")
