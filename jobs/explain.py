"""`rookery label --explain ID`: what the table has of a document, and what a run would do with it."""

from collections.abc import Sequence

from jobs.terminal.explain_output import print_explanations
from pipeline.config.label import Job
from pipeline.planning.explanation import explanations
from pipeline.planning.plan import plans_of
from pipeline.planning.survey import make_surveys


def explain_documents(jobs: Sequence[Job], ids: list[str]) -> None:
    """Shows of each document its row in each table's newest snapshot and what the next run does. Labels nothing."""
    for plan in plans_of(make_surveys(jobs)):
        print_explanations(plan, explanations(plan, ids))
