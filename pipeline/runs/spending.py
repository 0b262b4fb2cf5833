"""What one run may cost, and whether that is spent."""

from collections.abc import Iterator

from pipeline.config.label import BudgetSettings, Job
from pipeline.planning.plan_warnings import PlanWarning
from pipeline.runs.progress import Progress
from pipeline.runs.run_estimate import RunEstimate


def spent_budget(budget: BudgetSettings, progress: Progress) -> str | None:
    """Names the first of a budget's limits that a run has reached, and what it has used; None while it may go on."""
    used = {
        "usd": progress.usd,
        "actor_hours": progress.actor_hours,
        "tokens": progress.tokens,
        "minutes": progress.minutes,
    }
    return next(_reached(budget, used), None)


def _reached(budget: BudgetSettings, used: dict[str, float | None]) -> Iterator[str]:
    for name, limit in budget:
        value = used[name]
        if limit is not None and value is not None and value >= limit:
            yield f"budget.{name} {limit:,.15g}: {value:,.{0 if name == 'tokens' else 2}f} used"


def budget_warnings(job: Job, estimate: RunEstimate) -> list[PlanWarning]:
    """Names each of a job's limits that its estimate exceeds, and what becomes of the run."""
    hours, seconds = estimate.actor_hours, estimate.seconds
    needed = {
        "usd": estimate.usd,
        "actor_hours": hours,
        "tokens": estimate.tokens,
        "minutes": seconds and seconds.times(1 / 60),
    }
    warnings = []
    for name, limit in job.budget:
        if limit is not None and (need := needed[name]) and need.value > limit:
            warnings.append(
                PlanWarning(
                    "budget",
                    f"budget.{name} {limit:,.15g}: about {need.value:,.4g} are needed: a run ends with exit code 7 "
                    f"after about {limit / need.value:.0%} of the work, and the next goes on; raise it or run again",
                )
            )
    return warnings
