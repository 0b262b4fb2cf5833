"""What one run may cost, and whether that is spent."""

from collections.abc import Iterator

from pipeline.config.label import BudgetSettings
from pipeline.runs.progress import Progress


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
            yield (
                f"budget.{name} {limit:,.15g}: {value:,.0f} used"
                if name == "tokens"
                else (f"budget.{name} {limit:,.15g}: {value:,.2f} used")
            )
