"""`rookery doctor`: what on this machine, or in a job's surroundings, would keep a run from ending well."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.checks.examination import Check, examine
from jobs.checks.inputs import input_checks
from jobs.checks.installation import installation_checks
from jobs.checks.ray_cluster import ray_checks
from jobs.checks.table_store import table_checks
from jobs.checks.this_machine import machine_checks
from jobs.finding import Finding, failure_finding
from jobs.terminal.doctor_output import print_findings
from pipeline.cluster.connection import cluster_address
from pipeline.config.label import Job
from pipeline.config.label_file import load_jobs
from pipeline.errors import ConfigError
from pipeline.storage.objects import Storage

RETRY_S = 3.0  # a store that does not answer is not waited for as in a run


def doctor(
    job_file: Annotated[
        Path | None, typer.Option("--config", help="Look at all that this job needs too: its job file (YAML).")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override one field: path=value.")] = None,
    format_: Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or for programs.")] = "text",
) -> None:
    """Check this machine, and with --config all that a job needs: what is well, what isn't, and what to do about it.

    Changes nothing: it writes one empty object below the table and removes it. Ends with 2 where something failed.
    """
    findings = diagnose(job_file, overrides or [])
    if format_ == "json":
        listed = list(findings)
        print(json.dumps([asdict(finding) for finding in listed], indent=1, ensure_ascii=False))
    else:
        listed = print_findings(findings)
    if any(finding.state == "failure" for finding in listed):
        raise typer.Exit(ConfigError.exit_code)


def diagnose(job_file: Path | None = None, overrides: list[str] | None = None) -> Iterator[Finding]:
    """Makes every check; of a job file that is wrong, those that need none. Raises nothing: what fails is a finding."""
    jobs: list[Job] = []
    if job_file:
        try:
            jobs = load_jobs(job_file, overrides)
        except ConfigError as error:
            yield failure_finding("job file", error, "correct it: `rookery config --schema` says what it may have")
        else:
            yield Finding("job file", "ok", f"{job_file} is valid")
    yield from examine(_checks(jobs))


def _checks(jobs: list[Job]) -> list[Check]:
    """What to look at for the jobs of one file, which share all but checkpoint and table."""
    first = jobs[0] if jobs else None
    num_gpus = first.compute.num_gpus * first.compute.actors if first and not cluster_address(first.ray) else 0
    checks = installation_checks() + machine_checks(num_gpus)
    if first:
        storage = Storage(first.storage.model_copy(update={"retry": RETRY_S}))
        checks += input_checks(jobs, storage) + table_checks(jobs, storage)
    return checks + ray_checks(first, len(jobs) or 1)
