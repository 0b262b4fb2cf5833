import pytest

from pipeline.tables.error_budget import ErrorBudget


@pytest.mark.parametrize(
    ("limit", "errors", "documents", "excess"),
    [
        (0, 0, 10, ""),
        (1, 2, 10, "2 of 10 documents could not be labelled, max_errors allows 1"),
        (0.2, 2, 10, ""),
        (0.19, 2, 10, "2 of 10 documents could not be labelled, max_errors allows 19% of them"),
        (1.0, 9, 10, ""),
        (1.0, 10, 10, "not one of 10 documents could be labelled"),
        (10, 10, 10, "not one of 10 documents could be labelled"),
        (0, 0, 0, ""),
    ],
)
def test_when_errors_are_too_many(limit: float, errors: int, documents: int, excess: str):
    assert ErrorBudget(limit).excess(errors, documents) == excess
