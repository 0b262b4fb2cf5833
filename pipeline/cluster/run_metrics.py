"""What a run tells Prometheus, through Ray: counts of what is done, from its driver alone.

Ray keeps what the driver counts on the page of the driver's node, also when the driver has ended. Shares are computed
by those who ask, from two counters: shares that several processes tell can't be added up. A Ray of our own has nobody
who asks.
"""

import re
import time
from collections.abc import Iterable, Sequence

from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.planning.plan import Plan
from pipeline.runs.progress import UNIT_STAGES, Progress
from pipeline.runs.run_record import outcome_of
from pipeline.runs.unit_done import UnitDone

GAUGE_SECONDS = 5.0  # Ray forgets a gauge that nobody has set for 20 s: they tell which runs live
DIGEST_LETTERS = 12
SECONDS_OF_UNITS = [0.1, 0.5, 1, 5, 10, 30, 60, 300]  # a head drops a run's whose bounds are not those it first saw
FIRST_COUNT = 5e-324  # a counter takes no 0, and what is there from the start has a rate from its first unit on
COUNTS = {
    "documents": ("rookery_documents_total", "Documents of finished units, whatever came of them."),
    "taken_over": ("rookery_taken_over_documents_total", "Documents whose text had scores: nothing was computed."),
    "errors": ("rookery_errors_total", "Documents that could not be labelled."),
    "tokens": ("rookery_tokens_total", "Tokens that were computed."),
    "padding": ("rookery_padding_tokens_total", "Tokens that were computed beside them, to fill blocks."),
}


class RunMetrics:
    """The metrics of one run, whose tables have a plan each. Needs the Ray that the run is on."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._labels = [labels_of(plan) for plan in plans]
        keys = _keys(self._labels)
        self._counts = {attribute: Counter(name, text, keys) for attribute, (name, text) in COUNTS.items()}
        self._units = Counter("rookery_units_total", "Units that are finished.", keys)
        self._stage_seconds = Counter(
            "rookery_stage_seconds_total",
            "Seconds of all processes: reading, text to packs, encoding, waiting for packs, writing.",
            (*keys, "stage"),
        )
        self._unit_seconds = Histogram(
            "rookery_unit_seconds", "Seconds that a unit took in a stage.", SECONDS_OF_UNITS, (*keys, "stage")
        )
        self._units_left = Gauge("rookery_units_left", "Units that a living run has yet to finish.", keys)
        self._last_unit = Gauge(
            "rookery_last_unit_timestamp_seconds",
            "When a living run last finished a unit, or began; seconds since 1970.",
            keys,
        )
        self._last_unit_at = time.time()
        self._start()

    def _start(self) -> None:
        for labels in self._labels:
            for counter in (self._units, *self._counts.values()):
                counter.inc(FIRST_COUNT, labels)
            for stage in UNIT_STAGES:
                self._stage_seconds.inc(FIRST_COUNT, labels | {"stage": stage})

    def add(self, unit: UnitDone) -> None:
        """Counts one more unit that is done."""
        labels = self._labels[unit.table]
        self._last_unit_at = time.time()
        if not unit.incomplete:
            self._units.inc(1, labels)
        for attribute, counter in self._counts.items():
            if count := getattr(unit, attribute):
                counter.inc(count, labels)
        for stage in UNIT_STAGES:
            if (seconds := getattr(unit, f"{stage}_s")) > 0:
                of_stage = labels | {"stage": stage}
                self._stage_seconds.inc(seconds, of_stage)
                self._unit_seconds.observe(seconds, of_stage)

    def show(self, progress: Progress) -> None:
        """Tells that the run lives, and what is left; needs to be called each GAUGE_SECONDS."""
        for table, labels in enumerate(self._labels):
            figures = progress.figures(table)
            if figures.units_total is not None:
                self._units_left.set(figures.units_total - figures.units, labels)
            self._last_unit.set(self._last_unit_at, labels)


def count_outcomes(plans: Sequence[Plan], errors: Iterable[BaseException | None]) -> None:
    """Counts for each table that a run has ended, by what ended it; None is a snapshot that is published."""
    all_labels = [labels_of(plan) for plan in plans]
    runs = Counter("rookery_runs_total", "Runs that have ended, by outcome.", (*_keys(all_labels), "outcome"))
    for labels, error in zip(all_labels, errors, strict=True):
        runs.inc(1, labels | {"outcome": outcome_of(error)[0]})


def labels_of(plan: Plan) -> dict[str, str]:
    """Names a table, its checkpoint and the job's tags; of a URI with a password not that."""
    return {
        "table": re.sub(r"//[^/@:]*:[^/@]*@", "//", plan.job.table.uri),
        "checkpoint": plan.scoring.weights_digest[:DIGEST_LETTERS],
        **{f"tag_{name}": value for name, value in plan.job.tags.items()},
    }


def _keys(all_labels: Iterable[dict[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for labels in all_labels for key in labels))
