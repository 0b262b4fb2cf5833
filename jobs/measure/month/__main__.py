"""A month of nightly runs, each compared with a labelling from scratch: `python -m jobs.measure.month --corpus FOLDER`.

Thirty nights on documents of a corpus with the columns id and text: adds, edits, deletes, a compaction, new names and
another order upstream; a new checkpoint, a bad one that a gate holds back, another temperature; a driver that is
killed, two at once; a rollback, an erasure, a vacuum. After each night the newest snapshots' rows are compared, bit for
bit.
"""

import contextlib
import math
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pyarrow.dataset as pa_dataset
import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from jobs.label import run_job
from jobs.label_work import connected
from jobs.measure.figures import as_markdown
from jobs.measure.month.living_corpus import Document, LivingCorpus
from jobs.measure.month.nightly import Month, NightOutcome
from jobs.measure.month.nights import a_month
from jobs.measure.page import Page, made_by
from jobs.sample import CHECKPOINT
from jobs.terminal.console import console
from pipeline.config.label import Job, parse_job
from pipeline.tables.snapshots import Manifest

JOB_GATES = ("gates.min_agreement=80%", "gates.min_documents=20")
SHADES = " ▏▎▍▌▋▊▉"  # eighths of a bar's letter
BAR_WIDTH = 12
TABLE_WIDTH = 150  # also where the terminal, or a log, is said to be narrower


def month(
    corpus: Annotated[Path, typer.Option(help="A folder of Parquet files with the columns id and text.")],
    documents: Annotated[int, typer.Option(help="How many the month begins with.")] = 200,
    nights: Annotated[int, typer.Option(help="How many of the thirty.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the dice that choose documents.")] = 0,
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Run the nights; print what each costs and whether it ended as from scratch."""
    page = Page(markdown)
    with tempfile.TemporaryDirectory() as scratch:
        living = LivingCorpus(Path(scratch) / "corpus", _documents(corpus), random.Random(seed))
        job = parse_job("", [f"corpus.uris={scratch}", f"checkpoint.uri={CHECKPOINT}", f"table.uri={scratch}/none"])
        with connected(job):
            run = Month(Path(scratch), living, CHECKPOINT, _label, settings=JOB_GATES)
            outcomes = []
            for outcome in run.run(a_month(documents)[:nights]):
                outcomes.append(outcome)
                console.print(f"night {len(outcomes)}: {outcome.night.what}: {_verdict(outcome)}", soft_wrap=True)
    table = _table(outcomes)
    Console(width=max(console.width, TABLE_WIDTH)).print(table)
    wrong = sum(not outcome.right for outcome in outcomes)
    verdict = f"{len(outcomes) - wrong} of {len(outcomes)} nights ended as a labelling from scratch, bit for bit."
    console.print(verdict)
    page.write(made_by(), [as_markdown(table), verdict])
    raise SystemExit(1 if wrong else 0)


def _documents(corpus: Path) -> Iterator[Document]:
    rows = pa_dataset.dataset(corpus, format="parquet").to_batches(columns=["id", "text"])
    return (Document(row["id"], row["text"]) for batch in rows for row in batch.to_pylist())


def _label(job: Job) -> Manifest:
    with contextlib.redirect_stdout(None), console.capture():
        manifest = run_job(job)
    assert manifest is not None
    return manifest


def _table(outcomes: list[NightOutcome]) -> Table:
    """A row for each night; its bar is its tokens as a share of those of the first, which computes everything."""
    figures = ("snapshot", "documents", "computed", "taken over", "tokens", "of the first", "s")
    table = Table(
        Column("night", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in figures),
        Column("cost", no_wrap=True, min_width=BAR_WIDTH),
        Column("as from scratch"),
        box=box.SIMPLE,
        pad_edge=False,
    )
    first = max(1, outcomes[0].tokens)
    for number, one in enumerate(outcomes, 1):
        share = one.tokens / first
        counts = (one.snapshot, one.documents, one.computed, one.taken_over, one.tokens)
        table.add_row(
            f"{number} {one.night.what}",
            *(f"{count:,}" for count in counts),
            f"{share:.2%}",
            f"{one.seconds:.1f}",
            _bar(share),
            _verdict(one),
        )
    return table


def _bar(share: float) -> str:
    eighths = min(BAR_WIDTH * 8, math.ceil(share * BAR_WIDTH * 8))
    return "█" * (eighths // 8) + SHADES[eighths % 8].strip()


def _verdict(outcome: NightOutcome) -> str:
    return "yes" if outcome.right else "NO"


if __name__ == "__main__":
    typer.run(month)
