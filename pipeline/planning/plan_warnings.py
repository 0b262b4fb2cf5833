"""What of a corpus makes a run slow, uneven or full of errors, and what to do about it, before it is started."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pipeline.corpus.slices import ParquetSlice, Unit
from pipeline.planning.plan import Plan
from pipeline.planning.sampling import Sample
from pipeline.planning.stored_bytes import missing_bytes

WarningKind = Literal[
    "giant_row_group", "giant_document", "tiny_files", "skew", "errors", "takes_over", "cluster", "budget"
]
GIANT_GROUP_UNITS = 16  # which one reader reads one after the other
GIANT_DOCUMENT_UNITS = 4  # of which one document alone has the size
TINY_FILES, TINY_SHARE = 1_000, 0.01  # so many files of less than this share of a unit each
MOST = 0.5  # of all bytes
SMALL_CORPUS_UNITS = 8  # in which nothing is skewed that would matter


class PlanWarning(NamedTuple):
    """Something that should be looked at before a run: what it is, its file and value, and what to do."""

    kind: WarningKind
    message: str


def plan_warnings(plan: Plan, sample: Sample | None) -> list[PlanWarning]:
    """Lists what is to be said of a plan's missing units; of their documents what a sample has shown."""
    missing = missing_bytes(plan)
    if not missing or sample is None:
        return []
    return [
        *_giant_row_groups(plan),
        *_giant_documents(plan, sample),
        *_tiny_files(plan),
        *_skew(plan, missing, sample),
        *_errors(plan, sample),
        *_takes_over(plan),
    ]


def _giant_row_groups(plan: Plan) -> Iterator[PlanWarning]:
    groups = Counter[tuple[str, int]]()
    for _, unit in plan.missing:
        if isinstance(unit.slice, ParquetSlice) and unit.slice.is_cut:
            groups[unit.file.uri, unit.slice.groups.start] += 1
    giant = {place: units for place, units in groups.items() if units >= GIANT_GROUP_UNITS}
    if giant:
        (uri, number), units = max(giant.items(), key=lambda one: one[1])
        size = _size(units * plan.job.units.text_bytes)
        others = f", and {len(giant) - 1:,} more are as large" if len(giant) > 1 else ""
        yield PlanWarning(
            "giant_row_group",
            f"{uri}: row group {number} holds about {size} of text, {units:,} units that one reader decodes one after "
            f"the other{others}; write row groups of about {_size(plan.job.units.text_bytes)} of text",
        )


def _giant_documents(plan: Plan, sample: Sample) -> Iterator[PlanWarning]:
    most, uris = plan.job.corpus.max_document_bytes, [unit.file.uri for _, unit in plan.missing if _is_too_large(unit)]
    if uris:
        others = f" and {len(uris) - 1:,} other files" if len(uris) > 1 else ""
        yield PlanWarning(
            "giant_document",
            f"{uris[0]}{others}: larger than corpus.max_document_bytes {most:,}, so that they become errors; raise it "
            "or leave them out",
        )
    if large := sample.reasons.get("too_large"):
        yield PlanWarning(
            "giant_document",
            f"{large:,} of {sample.documents:,} sampled documents are larger than corpus.max_document_bytes {most:,} "
            "and become errors; raise it, or cut them",
        )
    size, id_ = sample.largest
    if size > GIANT_DOCUMENT_UNITS * plan.job.units.text_bytes:
        yield PlanWarning(
            "giant_document",
            f"document {id_!r} has {_size(size)} of text, more than units.text_bytes {plan.job.units.text_bytes:,}: a "
            "unit can't be smaller than its largest document; see that a worker has memory for it, or set "
            "corpus.max_document_bytes",
        )


def _is_too_large(unit: Unit) -> bool:
    file = unit.file
    return file.format == "text" and not file.compression and file.stored.size > unit.reading.max_document_bytes


def _tiny_files(plan: Plan) -> Iterator[PlanWarning]:
    sizes = {unit.file.uri: unit.file.stored.size for _, unit in plan.missing}
    tiny = {uri: size for uri, size in sizes.items() if size < TINY_SHARE * plan.job.units.text_bytes}
    if len(tiny) >= TINY_FILES:
        mean = _size(sum(tiny.values()) / len(tiny))
        yield PlanWarning(
            "tiny_files",
            f"{len(tiny):,} files such as {next(iter(tiny))} have {mean} on average, where a unit holds "
            f"{_size(plan.job.units.text_bytes)}: each is a unit with requests of its own; put them together into "
            "Parquet or JSON Lines files of 100 MB and more",
        )


def _skew(plan: Plan, missing: list[tuple[Unit, float]], sample: Sample) -> Iterator[PlanWarning]:
    """What one process has to read from its beginning, and the partition that has most of the table."""
    streams, partitions = defaultdict[str, float](float), defaultdict[tuple[str, ...], float](float)
    keys = [key for key in plan.layout.partition_by if key in dict(missing[0][0].file.partitions)]
    for unit, n_bytes in missing:
        if unit.slice.stream:
            streams[unit.file.uri] += n_bytes
        values = dict(unit.file.partitions)
        partitions[tuple(f"{key}={values.get(key)}" for key in keys)] += n_bytes
    total = sum(n_bytes for _, n_bytes in missing)
    if sample.total("text_bytes").value < SMALL_CORPUS_UNITS * plan.job.units.text_bytes:
        return
    uri, largest = max(streams.items(), key=lambda one: one[1], default=("", 0.0))
    if largest > MOST * total:
        yield PlanWarning(
            "skew",
            f"{uri} holds {largest / total:.0%} of what is to be read, and one process has to read it from its "
            "beginning to its end; write it as several files, or as plain JSON Lines or Parquet",
        )
    names, largest = max(partitions.items(), key=lambda one: one[1])
    if names and len(partitions) > 1 and largest > MOST * total:
        yield PlanWarning(
            "skew",
            f"partition {'/'.join(names)} holds {largest / total:.0%} of what is to be labelled: readers get little of "
            "table.partition_by; partition by something else, or leave it out",
        )


def _errors(plan: Plan, sample: Sample) -> Iterator[PlanWarning]:
    failed, limit = sum(sample.reasons.values()), plan.job.max_errors
    share = failed / sample.documents if sample.documents else 0.0
    allowed = limit if isinstance(limit, float) else limit / max(1.0, sample.total("documents").value)
    if failed and share > allowed:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(sample.reasons.items()))
        yield PlanWarning(
            "errors",
            f"{failed:,} of {sample.documents:,} sampled documents can't be labelled ({reasons}), and max_errors is "
            f"{limit if isinstance(limit, int) else f'{limit:.4g}'}: nothing would be published; mend them or raise it",
        )


def _takes_over(plan: Plan) -> Iterator[PlanWarning]:
    if plan.takes_over:
        why = (
            f"{len(plan.orphans):,} finished units are of files that changed" if plan.orphans else "deduplicate is set"
        )
        yield PlanWarning(
            "takes_over",
            f"{why}: documents whose text has scores are taken over and cost nothing, so that it may be less than this",
        )


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
