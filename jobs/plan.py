"""`rookery plan`: what a labelling job would take, from a sample of the corpus and the speed of one actor.

`rookery label --dry-run` says what there is to do, by listings and footers alone, in a second. This reads documents and
computes some, and says what that will take.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.label_work import connected
from jobs.terminal.plan_output import print_estimate
from jobs.terminal.run_log import run_console, run_log
from pipeline.cluster.connection import actor_threads, check_own_cores, cluster_address
from pipeline.config.label_file import load_jobs
from pipeline.cores import available_cores, processor_name
from pipeline.errors import ConfigError, RookeryError
from pipeline.planning.plan import Plan, plans_of
from pipeline.planning.plan_warnings import PlanWarning, plan_warnings
from pipeline.planning.sampling import Sample, take_sample
from pipeline.planning.survey import Survey, make_surveys
from pipeline.runs.actor_speed import ActorSpeed, SpeedTrial, stored_speed
from pipeline.runs.run_estimate import RunEstimate, StoredEstimate, make_estimate
from pipeline.runs.run_record import RunRecords
from pipeline.runs.spending import budget_warnings


def plan(
    job_file: Annotated[Path, typer.Option("--config", help="The job file (YAML).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one field: path=value, e.g. compute.actors=8."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure an actor's speed, even if an earlier run has recorded it."),
    ] = False,
    format_: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Text for people, or an object of JSON for each table.")
    ] = "text",
) -> None:
    """Estimate what labelling will take: tokens, time, cost, storage, and what may go wrong. Labels nothing.

    Reads a sample of the documents that are missing, and computes some for a few seconds. `rookery label --dry-run`
    does neither: it says what there is to do, in a second.
    """
    for survey, its_plan in zip(
        surveys := make_surveys(load_jobs(job_file, overrides)), plans_of(surveys), strict=True
    ):
        estimate = estimated(survey, its_plan, measure=measure)
        if format_ == "json":
            print(estimate.model_dump_json(exclude_none=True))
        else:
            print_estimate(estimate, job_file)


def estimated(survey: Survey, plan: Plan, *, measure: bool = False, seed: str = "") -> RunEstimate:
    """Estimates what a plan's missing units take, and keeps it in the table for the run that does them.

    `measure`: an actor's speed, even where a record tells it. `seed`: another one gives another sample.

    Raises what reading the corpus and loading the checkpoint raise.
    """
    sample, speed, warnings = None, None, list[PlanWarning]()
    if plan.missing:
        with run_console.status("reading a sample of the corpus …"):
            sample = take_sample(plan, survey.scorer.tokenizer, seed)
        with run_console.status("looking for an actor's speed …"):
            speed, warnings = _speed(plan, sample, measure=measure)
    estimate = make_estimate(plan, survey.digest, sample, speed)
    warnings = [*plan_warnings(plan, sample), *warnings, *budget_warnings(plan.job, estimate)]
    estimate = estimate.model_copy(update={"warnings": warnings})
    try:
        StoredEstimate(plan.storage, plan.job.table.uri).write(estimate)
    except RookeryError as error:
        run_log.notice(f"the estimate can't be kept, so that no run will be compared with it: {error}")
    return estimate


def _speed(plan: Plan, sample: Sample, *, measure: bool) -> tuple[ActorSpeed | None, list[PlanWarning]]:
    """An actor's speed, as a run has recorded it or measured now; why there is none, or no run could have actors."""
    job = plan.job
    is_own, threads = not cluster_address(job.ray), actor_threads(job.compute)
    try:
        if is_own:
            check_own_cores(job)
        own_device = processor_name() if is_own and job.compute.device == "cpu" else None
        records = RunRecords(plan.storage, job.table.uri)
        stored = None if measure else stored_speed(records, plan.scoring.key, threads, job.compute.num_gpus, own_device)
        if stored or not sample.sampled_tokens:
            return stored, []
        trial = SpeedTrial(plan.storage, plan.scoring, sample.packs, job.compute.device, threads)
        speed = _measured_speed(plan, trial)
    except ConfigError as error:
        return None, [PlanWarning("cluster", str(error))]
    if is_own and job.compute.device == "cpu":  # whose cores tokenize, too
        speed = speed.beside_text(sample.text_seconds / sample.sampled_tokens, job.compute.actors, available_cores())
    return speed, []


def _measured_speed(plan: Plan, trial: SpeedTrial) -> ActorSpeed:
    with connected(plan.job):
        from pipeline.cluster.needs import check_offer, encoders
        from pipeline.cluster.speed_on_cluster import speed_on_cluster

        check_offer(encoders(plan.job.compute), plan.job.ray)
        return speed_on_cluster(plan.job, trial, run_log.notice)
