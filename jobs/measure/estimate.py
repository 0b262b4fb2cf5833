"""How near `rookery plan` comes: `python -m jobs.measure.estimate --corpus folder --labelled folder`.

Of each corpus the estimate is drawn several times with other seeds, and compared with what reading and tokenizing all
of it gives. The labelled corpus is planned and labelled in turn, each time into a new table, and the plan's tokens,
actor-hours and storage are compared with those of the run.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from jobs.label import run_job
from jobs.measure.figures import as_markdown
from jobs.measure.page import Page, made_by
from jobs.plan import estimated
from jobs.sample import CHECKPOINT
from jobs.terminal.console import console
from pipeline.cluster.read_stage import ReadStage
from pipeline.config.label import Job, parse_job
from pipeline.planning.plan import Plan, plan_of
from pipeline.planning.sample_totals import Estimated
from pipeline.planning.sampling import take_sample
from pipeline.planning.shared_reading import SharedPass, TableShare
from pipeline.planning.survey import make_survey
from pipeline.runs.run_record import RunRecords
from pipeline.schema import only_list

NEAR = 0.15
COUNTED = ("documents", "windows", "tokens", "padding")


@dataclass(frozen=True, slots=True)
class EstimateComparison:
    """Estimates of one figure, and what it is."""

    name: str
    truths: Sequence[float]
    estimates: Sequence[Estimated]

    def cells(self) -> tuple[str, ...]:
        """Writes a row: the truth, the worst estimate, how many are near, how many intervals have the truth in them."""
        pairs = list(zip(self.estimates, self.truths, strict=True))
        errors = [estimate.value / truth - 1 for estimate, truth in pairs]
        near = sum(abs(error) <= NEAR for error in errors)
        covered = sum(
            estimate.low <= truth * 1.0000001 and truth <= estimate.high * 1.0000001 for estimate, truth in pairs
        )
        truth = sum(self.truths) / len(self.truths)
        shown = f"{truth:,.0f}" if truth >= 100 else f"{truth:.4f}"
        return self.name, shown, f"{max(errors, key=abs):+.1%}", f"{near} of {len(pairs)}", f"{covered} of {len(pairs)}"


def estimate(
    corpus: Annotated[list[str], typer.Option(help="Documents to estimate: a file, a folder or a glob.")],
    labelled: Annotated[str | None, typer.Option(help="Documents to estimate and to label, in turn.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Estimates of each.")] = 10,
    runs: Annotated[int | None, typer.Option(min=1, help="Estimates of what is labelled; by default as many.")] = None,
    unit_bytes: Annotated[str, typer.Option(help="Text in one unit.")] = "16MB",
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Draw estimates of corpora, and compare them with the truth."""
    page, shown = Page(markdown), list[Table]()

    def show(table: Table) -> None:
        shown.append(table)
        console.print(table)
        page.write(made_by(), [f"{table.title}\n\n{as_markdown(table)}" for table in shown])

    with tempfile.TemporaryDirectory() as scratch:
        for uri in corpus:
            show(compare_tokens(_job(uri, f"{scratch}/none", unit_bytes), draws))
        if labelled:
            show(compare_runs([_job(labelled, f"{scratch}/{number}", "1MB") for number in range(runs or draws)]))


def _job(corpus: str, table: str, unit_bytes: str) -> Job:
    settings = {"corpus.uris": corpus, "corpus.id_column": "id", "checkpoint.uri": CHECKPOINT, "table.uri": table}
    settings |= {"units.text_bytes": unit_bytes}
    return parse_job("", [f"{name}={value}" for name, value in settings.items()])


def compare_tokens(job: Job, draws: int) -> Table:
    """Compares samples with other seeds with all that a run would read."""
    survey = make_survey(job)
    plan = plan_of(survey)
    truth, started = true_counts(plan), time.perf_counter()
    samples = [take_sample(plan, survey.scorer.tokenizer, str(seed)) for seed in range(draws)]
    seconds = (time.perf_counter() - started) / draws
    share = sum(sample.sampled_tokens for sample in samples) / draws / truth["tokens"]
    files, (uri,) = len(plan.corpus.files), job.corpus.uris
    shown = _table(f"{uri}: {files} files, {len(plan.units)} units; {share:.0%} tokenized, {seconds:.0f} s each")
    for name in COUNTED:
        estimates = [sample.total(name) for sample in samples]
        shown.add_row(*EstimateComparison(name, [truth[name]] * draws, estimates).cells())
    return shown


def true_counts(plan: Plan) -> dict[str, float]:
    """Counts in all that a run would compute."""
    counts, reader = dict.fromkeys(COUNTED, 0), ReadStage(plan.storage, (plan.work(),))
    for units in plan.passes:
        for row in reader(SharedPass(units, (TableShare(0, units),))):
            window_tokens = only_list(row, "window_tokens")
            counts["documents"] += len(row["documents"].chunk(0).flatten())
            counts["windows"] += len(window_tokens)
            counts["tokens"] += int(window_tokens.sum())
            counts["padding"] += int((-window_tokens % plan.scoring.block_size).sum())
    return dict(counts)


def compare_runs(jobs: Sequence[Job]) -> Table:
    """Estimates and labels each job, one after the other."""
    pairs = []
    for number, job in enumerate(jobs):
        survey = make_survey(job)
        expected = estimated(survey, plan_of(survey), seed=str(number))
        run_job(job)
        records = RunRecords(survey.storage, job.table.uri)
        record = records.read(records.newest_ids(1)[0])
        assert record is not None
        assert record.estimate is not None
        pairs.append((expected, record))
        console.print(f"actor-hours: {expected.actor_hours}; it took {record.actor_hours}")
    (uri,) = jobs[0].corpus.uris
    load = f"{os.getloadavg()[2]:.0f} processes wanted a core in the last minutes"
    shown = _table(f"{uri}, labelled {len(jobs)} times: {pairs[0][0].documents.value:,.0f} documents; {load}")
    for name in ("tokens", "windows"):
        truths = [(record.progress or {})[name] for _, record in pairs]
        shown.add_row(*EstimateComparison(name, truths, [getattr(expected, name) for expected, _ in pairs]).cells())
    hours = [expected.actor_hours for expected, _ in pairs]
    truths = [record.actor_hours or 0.0 for _, record in pairs]
    shown.add_row(*EstimateComparison("actor-hours", truths, [one for one in hours if one]).cells())
    return shown


def _table(title: str) -> Table:
    columns = ["truth", "worst error", f"within {NEAR:.0%}", "in the interval"]
    return Table("", *(Column(name, justify="right") for name in columns), title=title, title_justify="left")


if __name__ == "__main__":
    typer.run(estimate)
