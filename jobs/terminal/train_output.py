"""What `rookery train` shows: the data, a line every few seconds, the scores."""

import time
from typing import Any

from rich.console import Console

from jobs.terminal.console import file_count
from jobs.terminal.descriptions import corpus_notes
from pipeline.config.train import TrainJob
from pipeline.corpus.files import Corpus
from pipeline.training.prepare import Prepared
from pipeline.training.split_documents import SPLITS

_console = Console(highlight=False, soft_wrap=True)


def print_corpora(corpora: dict[str, Corpus]) -> None:
    """Prints what is read of each corpus, and what its folders hold beside that."""
    for name, corpus in corpora.items():
        notes = "; ".join([file_count(len(corpus.files)), *corpus_notes(corpus)])
        _console.print(f"{name:10}  {notes}", markup=False)


def print_prepared(job: TrainJob, prepared: Prepared) -> None:
    """Prints what the data come to, before the first step, and whether they were there already."""
    if prepared.earlier is not None:
        _console.print(
            f"going on    with what an earlier run read and tokenized {_ago(prepared.earlier)}: {prepared.work}"
            + ("" if prepared.has_state else "; it left no state of training, which begins with the first step"),
            markup=False,
        )
    for split in SPLITS:
        if prepared.documents[split]:
            counts = ", ".join(f"{name} {n:,}" for name, n in prepared.counts[split].items())
            _console.print(
                f"{split:10}  {prepared.documents[split]:,} documents, {prepared.tokens[split]:,} tokens: {counts}",
                markup=False,
            )
    if prepared.left_out:
        _console.print(f"left out    {prepared.left_out:,} documents of no split")
    if prepared.repeats:
        _console.print(f"left out    {prepared.repeats}")
    encoder, head = prepared.encoder, prepared.head
    _console.print(
        f"model       {encoder.layers} layers of {encoder.hidden_size}, vocabulary {encoder.vocab_size:,}, "
        f"pooling {head.pooling}, head {head.head}, {head.problem_type}"
    )


def print_training_progress(record: dict[str, Any]) -> None:
    """Prints one report of a worker: of a state that it went on from, a step or an epoch."""
    epoch = f"{record['phase']}  epoch {record['epoch']}/{record['epochs']}"
    if record["kind"] == "resumed":
        _console.print(resumption(record))
    elif record["kind"] == "step":
        _console.print(
            f"{epoch}  step {record['step']}/{record['steps']}  loss {record['loss']:.4f}  "
            f"{record['tokens_per_s']:,.0f} tokens/s"
        )
    elif "validation" in record:
        score = record["validation"]
        _console.print(f"{epoch}  validation loss {score['loss']:.4f}, {score['name']} {score['score']:.4f}")


def print_waiting(line: str) -> None:
    """Prints what training waits for."""
    _console.print(line, style="yellow", markup=False)


def resumption(record: dict[str, Any]) -> str:
    """Says from where an earlier run's state lets a phase go on."""
    place = (
        f"step {record['steps']:,} (epoch {record['epoch']} of {record['epochs']}, {record['tokens']:,} tokens), "
        f"saved {_ago(record['saved_at'])}"
    )
    if record["done"]:
        return f"{record['phase']}  was ended by an earlier run, after {place}"
    return f"{record['phase']}  going on from {place}"


def _ago(when: float) -> str:
    """In the largest unit of which it is at least two."""
    seconds = max(0, round(time.time() - when))
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def print_scores(job: TrainJob, scores: dict[str, Any]) -> None:
    """Prints where the checkpoint is, and how good."""
    _console.print(f"\n[bold green]Trained[/] {job.output.folder}")
    for split, score in scores.items():
        _console.print(
            f"{split:10}  {score['documents']:,} documents: loss {score['loss']:.4f}, {score['name']} "
            f"{score['score']:.4f}"
        )


def print_done_already(job: TrainJob) -> None:
    """Prints that this job has made its checkpoint already."""
    _console.print(f"[green]Nothing to do:[/] this job has already made {job.output.folder}.")
