"""How many documents of a job may stay without a prediction."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """A job's max_errors: a count, or as a float a share of the documents. Whatever it is, one needs a prediction."""

    limit: int | float

    def excess(self, errors: int, documents: int) -> str:
        """Says what is wrong with so many errors among so many documents, or nothing: an empty string."""
        if 0 < errors == documents:
            return f"not one of {documents:,} documents could be labelled"
        if (errors if isinstance(self.limit, int) else errors / max(1, documents)) <= self.limit:
            return ""
        allowed = f"{self.limit:,}" if isinstance(self.limit, int) else f"{self.limit * 100:g}% of them"
        return f"{errors:,} of {documents:,} documents could not be labelled, max_errors allows {allowed}"
