"""What labelling what a plan lacks will take: from a sample of the corpus and the speed of one actor.

    <table>/_runs/estimate.json    put anew by each `rookery plan`; a run that does this very work keeps it, too

Nothing that a run computes or publishes depends on it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.planning.plan import Plan
from pipeline.planning.sample_totals import Estimated
from pipeline.planning.sampling import Sample
from pipeline.runs.actor_speed import ActorSpeed
from pipeline.runs.progress import HOUR
from pipeline.schema import LOGITS, only_list
from pipeline.storage.objects import Storage
from pipeline.tables.fragments import fragment
from pipeline.tables.repeatable_parquet import parquet_bytes

ROW_COPIES = 2  # of a document's row: in its fragment, and in a data file of the snapshot
UNIT_OBJECT_BYTES = 4_000  # of a fragment, beside its rows


class SampleFacts(BaseModel):
    """What an estimate was made of. `start_share`: of the corpus, what only a file's beginning stands for."""

    documents: int
    tokens: int
    is_whole: bool
    start_share: float
    seconds: float


class RunEstimate(BaseModel):
    """What is missing in a table, and what it will take; intervals cover the truth in 95 of 100 samples.

    Attributes:
        survey: digest of what the run sees of corpus, checkpoint and table.
        units: that are missing; parts of files that are cut while they are read are estimated in it.
        missing: units and files to be cut that the plan counts as missing.
        done: units that have a fragment already, which nothing here counts.
        tokens: of windows, special ones and overlaps included, as a run counts them.
        lengths: documents by the number of bits that the count of their tokens has.
        tokens_per_second: of one actor; None, as all that follows from it, where nobody could tell.
        speed_run: the run whose record said so; None where it was measured.
        start_seconds: until an actor has loaded the checkpoint.
        seconds: that labelling will take on `actors`.
        storage_bytes: of the new fragments, and of their rows in a snapshot's files.
    """

    model_config = ConfigDict(extra="ignore")

    made_at: datetime
    rookery: str
    table: str
    checkpoint: str
    scoring_key: str
    dtype: str
    survey: str
    files: int
    stored_bytes: int
    units: int
    missing: int
    done: int
    documents: Estimated
    errors: Estimated
    windows: Estimated
    tokens: Estimated
    padding: Estimated
    text_bytes: Estimated
    lengths: list[int]
    sample: SampleFacts | None
    device: str | None = None
    tokens_per_second: Estimated | None = None
    speed_run: str | None = None
    start_seconds: float | None = None
    actors: int
    actor_hours: Estimated | None = None
    seconds: Estimated | None = None
    price: float | None = None
    usd: Estimated | None = None
    usd_per_billion_tokens: Estimated | None = None
    storage_bytes: int | None = None
    warnings: list[tuple[str, str]] = []

    def expected(self) -> dict[str, Any]:
        """Gives what a run's record keeps of it, to be compared with what came of the run."""
        names = {"made_at", "units", "documents", "windows", "tokens", "padding", "actor_hours", "seconds", "usd"}
        return self.model_dump(mode="json", include=names | {"storage_bytes", "speed_run"}, exclude_none=True)

    def is_of(self, survey: str, missing: int) -> bool:
        """Tells whether it is of this very work: what a run sees, and how many units it lacks."""
        return (self.survey, self.missing) == (survey, missing)


def make_estimate(plan: Plan, survey: str, sample: Sample | None, speed: ActorSpeed | None) -> RunEstimate:
    """Puts an estimate together; without a sample for a plan that lacks nothing."""
    missing = [unit for _, unit in plan.missing]

    def total(name: str) -> Estimated:
        return sample.total(name) if sample else Estimated.known(0)

    estimate = RunEstimate(
        made_at=datetime.now(UTC),
        rookery=version("rookery"),
        table=plan.job.table.uri,
        checkpoint=plan.job.checkpoint.uri,
        scoring_key=plan.scoring.key,
        dtype=plan.scoring.dtype,
        survey=survey,
        files=len({unit.file.uri for unit in missing}),
        stored_bytes=sum({unit.file.uri: unit.file.stored.size for unit in missing}.values()),
        units=_units(plan, total("text_bytes").value),
        missing=len(missing),
        done=len(plan.units) - len(missing),
        documents=total("documents"),
        errors=total("errors"),
        windows=total("windows"),
        tokens=total("tokens"),
        padding=total("padding"),
        text_bytes=total("text_bytes"),
        lengths=sample.length_totals() if sample else [],
        sample=_facts(sample) if sample else None,
        actors=plan.job.compute.actors,
        price=plan.job.price,
    )
    estimate.storage_bytes = _storage_bytes(plan, sample, estimate) if sample else 0
    return estimate if speed is None else _with_speed(estimate, speed)


def _units(plan: Plan, text_bytes: float) -> int:
    streams = [unit for _, unit in plan.missing if unit.slice.is_stream]
    stored = sum(unit.file.stored.size for _, unit in plan.missing)
    of_streams = text_bytes * sum(unit.file.stored.size for unit in streams) / max(1, stored)
    parts = max(len(streams), round(of_streams / plan.job.units.text_bytes))
    return len(plan.missing) - len(streams) + parts


def _facts(sample: Sample) -> SampleFacts:
    return SampleFacts(
        documents=sample.documents,
        tokens=sample.sampled_tokens,
        is_whole=sample.is_whole,
        start_share=sample.start_share,
        seconds=sample.seconds,
    )


def _with_speed(estimate: RunEstimate, speed: ActorSpeed) -> RunEstimate:
    starting = estimate.actors * speed.start_seconds if estimate.missing else 0.0
    actor_seconds = estimate.tokens.over(speed.tokens_per_second).plus(starting)
    hours, price = actor_seconds.times(1 / HOUR), estimate.price
    usd = None if price is None else hours.times(price)
    tokens = estimate.tokens.value
    return estimate.model_copy(
        update={
            "device": speed.device,
            "tokens_per_second": speed.tokens_per_second,
            "speed_run": speed.run_id,
            "start_seconds": speed.start_seconds,
            "actor_hours": hours,
            "seconds": actor_seconds.times(1 / estimate.actors),
            "usd": usd,
            "usd_per_billion_tokens": usd.times(1e9 / tokens) if usd and tokens else None,
        }
    )


def _storage_bytes(plan: Plan, sample: Sample, estimate: RunEstimate) -> int | None:
    each = _row_bytes(plan, sample)
    return (
        None
        if each is None
        else round(ROW_COPIES * each * estimate.documents.value + UNIT_OBJECT_BYTES * estimate.units)
    )


def _row_bytes(plan: Plan, sample: Sample) -> float | None:
    """Bytes of a document's row: of the newest snapshot, else of the sample's with logits that are made up.

    None for tasks whose rows depend on what the model finds in a text.
    """
    newest = plan.snapshots.latest()
    if newest and newest.counts["documents"]:
        return sum(file.bytes for file in newest.files) / newest.counts["documents"]
    if plan.task.located or not sample.documents:
        return None
    windows, outputs = (
        len(only_list(sample.packs, "window_tokens")),
        plan.checkpoint.head.outputs(plan.checkpoint.encoder),
    )
    logits = np.random.default_rng(0).standard_normal(windows * outputs, np.float32)
    field = LOGITS.field("logits")
    row = sample.packs.drop_columns(["tokens", "pack_windows"]).append_column(field, pa.array([logits], field.type))
    records = pa.Table.from_struct_array(row["documents"].chunk(0).flatten())
    return len(parquet_bytes(fragment(records, plan.task.outputs(row), plan.task.output))) / len(records)


@dataclass(frozen=True, slots=True)
class StoredEstimate:
    """The newest estimate of a table's work, where it is kept."""

    storage: Storage
    table_uri: str

    @property
    def _uri(self) -> str:
        return f"{self.table_uri.rstrip('/')}/_runs/estimate.json"

    def write(self, estimate: RunEstimate) -> None:
        """Replaces it, but for its warnings, which may name a document: erased ids are not looked for here.

        Raises RookeryError.
        """
        kept = estimate.model_dump_json(exclude={"warnings"}, exclude_none=True, indent=1)
        self.storage.put(self._uri, kept.encode() + b"\n")

    def read(self) -> RunEstimate | None:
        """Reads it; None where there is none that can be read. Raises StorageError, AccessError."""
        try:
            return RunEstimate.model_validate_json(self.storage.read(self._uri))
        except (FileNotFoundError, ValidationError):
            return None
