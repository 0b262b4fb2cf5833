"""`rookery label --explain ID`: what the table has of a document, and what a run would do with it."""

from jobs.terminal.explain_output import print_explanations
from pipeline.config.label import Job
from pipeline.planning.explanation import explanations
from pipeline.planning.plan import make_plan


def explain_documents(job: Job, ids: list[str]) -> None:
    """Shows of each document its row in the newest snapshot and what the next run does. Labels nothing."""
    plan = make_plan(job)
    print_explanations(plan, explanations(plan, ids))
