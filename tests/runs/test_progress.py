"""Progress against sums that are done by hand, on a clock that the test turns."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from jobs.sample import CHECKPOINT
from pipeline.config.label import BudgetSettings, parse_job
from pipeline.planning.plan import Plan, make_plan
from pipeline.runs.progress import Progress
from pipeline.runs.spending import spent_budget
from pipeline.runs.unit_done import UnitDone

LENGTHS = (1, 40, 3)  # of the documents of each file, in thousands of letters


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Three files of one unit each, the second far larger than the others."""
    folder = tmp_path_factory.mktemp("progress")
    for number, length in enumerate(LENGTHS):
        texts = [f"{n} ".join("abcdefgh") * 50 * length for n in range(4)]
        pq.write_table(pa.table({"text": texts}), folder / f"{number}.parquet", compression=None, use_dictionary=False)
    settings = [f"corpus.uris={folder}/*", f"checkpoint.uri={CHECKPOINT}", f"table.uri={folder}/t", "price=3"]
    return make_plan(parse_job("", [*settings, "compute.actors=2"]))


@pytest.fixture
def clock() -> "Clock":
    return Clock()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def unit(plan: Plan, number: int, tokens: int, **values: float | str | int) -> UnitDone:
    return UnitDone(plan.unit_ids[number], 0, 4, 0, 4, tokens, **values)  # type: ignore[arg-type]


def test_nothing_is_known_before_the_first_unit(plan: Plan, clock: Clock):
    figures = Progress([plan], clock).figures(0)
    assert (figures.units, figures.units_total, figures.documents_total) == (0, 3, 12)
    assert (figures.tokens_total, figures.seconds_left, figures.busy_share) == (None, None, None)
    assert (figures.tokens_per_second, figures.padding_share, figures.usd) == (0, 0, 0)


def test_what_is_left_goes_by_bytes_and_not_by_units(plan: Plan, clock: Clock):
    sizes = [unit.file.stored.size for unit in plan.units]
    progress = Progress([plan], clock)
    clock.now += 100
    progress.add(unit(plan, 1, 8000, padding=2000))
    figures = progress.figures(0)
    share = sizes[1] / sum(sizes)
    assert share > 0.8
    assert figures.share == pytest.approx(share, rel=1e-6)  # weights are kept in single precision
    assert figures.tokens_total == pytest.approx(8000 / share, rel=1e-3)
    assert figures.seconds_left == pytest.approx(100 * (1 - share) / share, rel=1e-5)
    assert figures.padding_share == 0.2
    assert figures.tokens_per_second == 80
    for number in (0, 2):
        progress.add(unit(plan, number, 100))
    figures = progress.figures(0)
    assert (figures.share, figures.seconds_left, figures.tokens_total) == (1, 0, 8200)


def test_now_is_the_last_minute(plan: Plan, clock: Clock):
    progress = Progress([plan], clock)
    clock.now += 100
    progress.add(unit(plan, 0, 6000, encode_s=90.0, wait_s=10.0))
    clock.now += 100
    progress.add(unit(plan, 1, 1200, encode_s=30.0, wait_s=10.0))
    figures = progress.figures(0)
    assert (figures.tokens_per_second, figures.tokens_per_second_now, figures.busy_share) == (36, 20, 0.75)
    clock.now += 61
    figures = progress.figures(0)
    assert (figures.tokens_per_second_now, figures.busy_share) == (0, None)


def test_actors_are_paid_from_the_start_and_others_from_their_first_unit(plan: Plan, clock: Clock):
    progress = Progress([plan], clock)
    clock.now += 3600
    assert progress.actor_hours == 2  # the two that the job wants
    progress.add(unit(plan, 0, 10, actor="a:1", encode_s=60.0))
    progress.add(unit(plan, 1, 10, actor="b:2", encode_s=60.0))
    progress.add(unit(plan, 2, 10, actor="c:3", encode_s=900.0, wait_s=900.0))
    figures = progress.figures(0)
    assert (figures.actors, figures.actor_hours) == (3, 2 + 60 / 3600)  # the third is the one that came last
    assert figures.usd == pytest.approx(3 * figures.actor_hours)


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (BudgetSettings(usd=6.1), None),
        (BudgetSettings(usd=6), "budget.usd 6: 6.00 used"),
        (BudgetSettings(actor_hours=1.5), "budget.actor_hours 1.5: 2.00 used"),
        (BudgetSettings(tokens=12_000, usd=100), "budget.tokens 12,000: 12,345 used"),
        (BudgetSettings(minutes=60), "budget.minutes 60: 60.00 used"),
        (BudgetSettings(minutes=61, tokens=12_346), None),
        (BudgetSettings(), None),
    ],
)
def test_a_budget_that_is_spent_is_named(plan: Plan, clock: Clock, budget: BudgetSettings, told: str | None):
    progress = Progress([plan], clock)
    clock.now += 3600
    progress.add(unit(plan, 0, 12_345, actor="a:1"))
    assert spent_budget(budget, progress) == told


@given(tokens=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**9), st.floats(0, 90)), max_size=12))
def test_whatever_is_reported_the_figures_stay_figures(plan: Plan, tokens: list[tuple[int, int, float]]):
    clock = Clock()
    progress = Progress([plan], clock)
    for number, count, seconds in tokens:
        clock.now += seconds
        progress.add(unit(plan, number, count, encode_s=seconds))
    figures = progress.figures(0)
    assert figures.tokens == sum(count for _, count, _ in tokens)
    assert figures.share is not None
    assert 0 <= figures.share <= 1
    assert (figures.seconds_left or 0) >= 0
