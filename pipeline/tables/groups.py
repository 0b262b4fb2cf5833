"""A group of units -> the data file and the errors file that the snapshot holds for it.

Documents are grouped by their partition values and a stable hash of their source file, so that a small change of the
corpus changes few data files. A group's `inputs` digest says all that decides its bytes: two groups with the same
digest have the same files, so a file is copied from the last snapshot instead of written again.

A partition's units are one bucket until they are too many for one task's memory. Then it is halved by the next bit of
the hash, and so is each half:

    1 ── 2 ── 4 …      A bucket that a new unit makes too large splits in two, and the others stay what they are.
    │    └─── 5 …      Numbers are those of the tree, so that a bucket's number says which units can be in it.
    └─── 3 …
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.identity import digest
from pipeline.schema import CARRIED, corpus_column, errors_schema, hive_key, predictions_schema
from pipeline.tables.hive_paths import partition_path
from pipeline.tables.partitioning import ColumnKey, Partition, divide
from pipeline.tables.repeatable_parquet import parquet_bytes
from pipeline.tables.rows_digest import rows_digest
from pipeline.tables.score_histograms import score_histograms
from pipeline.tables.source_units import Places, SourceUnit, SourceUnits
from pipeline.tables.unit_ids import IdArray

LAYOUT_VERSION = 1  # raise it when the same fragments give other bytes
BUCKET_UNITS = 64  # in a bucket at most: 64,000 documents of 16 kB are 100 MB while they are sorted and encoded
STRETCH_UNITS = 16  # of one source file stay together; a larger file is spread over several buckets
HASHES = 2**64


class PublishedTask(Protocol):
    """What publishing needs of a task: it turns the outputs in fragments into columns of the table."""

    @property
    def key(self) -> str: ...
    @property
    def facts(self) -> dict[str, Any]: ...
    @property
    def output(self) -> pa.Field: ...
    @property
    def fields(self) -> list[pa.Field]: ...
    def decide(self, outputs: pa.Array, /) -> list[pa.Array]: ...


@dataclass(frozen=True, slots=True)
class TableLayout:
    """How a table is cut into files and which columns the corpus's hive keys become."""

    partition_by: tuple[str, ...]  # keys of the table's paths, in order
    carried: tuple[str, ...]  # hive keys that become columns
    buckets: int | None  # of a partition; None: as many as keep each at BUCKET_UNITS
    column_keys: tuple[ColumnKey, ...] = ()  # of `partition_by`, those that documents bring
    columns: tuple[pa.Field, ...] = ()  # of the corpus, that are carried

    @property
    def hive_keys(self) -> list[str]:
        """Of the table's keys those that come from the paths of the corpus."""
        names = {key.name for key in self.column_keys}
        return [key for key in self.partition_by if key not in names]

    @property
    def carried_fields(self) -> list[pa.Field]:
        """What is carried and no partition, as columns of the table."""
        partitions = {key.name for key in self.column_keys if not key.part}
        columns = [corpus_column(field.name, field.type) for field in self.columns if field.name not in partitions]
        return [*map(hive_key, self.carried), *columns]

    @property
    def partition_fields(self) -> list[pa.Field]:
        """The columns that lie in the table's paths alone."""
        types = {field.name: field.type for field in self.columns}
        of_columns = {key.name: key.field(types[key.source]) for key in self.column_keys}
        return [of_columns.get(name, hive_key(name)) for name in self.partition_by]

    def partition_of(self, group: "Group", brought: Partition) -> list[tuple[str, str | None]]:
        """Gives the table's keys of a file, by its group and by what its documents bring."""
        values = dict((*group.partition, *brought))
        return [(key, values[key]) for key in self.partition_by]

    def groups(self, units: Iterable[SourceUnit]) -> "Groups":
        """Groups units by partition values and bucket, in a stable order. Only the order of one file's units counts."""
        columns = units if isinstance(units, SourceUnits) else SourceUnits.of(units)
        groups = Groups(columns)
        for partition, members in self._partitions(columns):
            for bucket, places in self._buckets(columns, members):
                groups.add(partition, bucket, places)
        return groups

    def _partitions(self, units: SourceUnits) -> Iterator[tuple[Partition, Places]]:
        """The table's partitions that units have by their files' paths, in order, and the places of their units."""
        numbers: dict[Partition, int] = {}
        number_of = [
            numbers.setdefault(tuple((key, dict(values).get(key)) for key in self.hive_keys), len(numbers))
            for values in units.partition_values
        ]
        of_units = np.array(number_of, np.int32)[units.partitions]
        order = np.argsort(of_units, kind="stable")
        bounds = np.searchsorted(of_units[order], np.arange(len(numbers) + 1))
        for partition in sorted(numbers, key=lambda partition: partition_path(list(partition))):
            number = numbers[partition]
            yield partition, order[bounds[number] : bounds[number + 1]]

    def _buckets(self, units: SourceUnits, members: Places) -> list[tuple[int, Places]]:
        if self.buckets is None:
            buckets = halved(_stretch_hashes(units, members))
            return sorted(((bucket, members[places]) for bucket, places in buckets), key=lambda bucket: bucket[0])
        files, inverse = np.unique(units.files[members], return_inverse=True)
        numbers = np.array([_hash(units.uri(file)) % self.buckets for file in files])[inverse]
        return [(bucket, members[numbers == bucket]) for bucket in np.unique(numbers).tolist()]


def halved(hashes: npt.NDArray[np.uint64]) -> Iterator[tuple[int, Places]]:
    """Puts units into buckets of at most BUCKET_UNITS; units with one hash stay together.

    Args:
        hashes: of each unit of one partition.

    Yields:
        A bucket's number, and the places of its units, ascending.
    """
    order = np.argsort(hashes, kind="stable")
    ascending = hashes[order]
    pending = [(1, 0, len(order), 0, HASHES)]
    while pending:
        bucket, start, stop, low, high = pending.pop()
        if stop - start > BUCKET_UNITS and high - low > 1:
            middle = (low + high) // 2
            between = start + int(np.searchsorted(ascending[start:stop], np.uint64(middle)))
            pending += [
                (2 * bucket, start, between, low, middle),
                (2 * bucket + 1, between, stop, middle, high),
            ]
        elif start < stop:
            yield bucket, np.sort(order[start:stop])


def _stretch_hashes(units: SourceUnits, members: Places) -> npt.NDArray[np.uint64]:
    """Of each unit of a partition: the same for STRETCH_UNITS neighbours in one file."""
    files = units.files[members]
    order = np.argsort(files, kind="stable")
    by_file = files[order]
    number_in_file = np.arange(len(order)) - np.searchsorted(by_file, by_file)
    stretches, inside = np.divmod(number_in_file, STRETCH_UNITS)
    starts = zip(by_file[inside == 0], stretches[inside == 0], strict=True)
    hashes = np.fromiter((_hash(f"{units.uri(int(file))}#{stretch}") for file, stretch in starts), np.uint64)
    of_units = np.empty(len(order), np.uint64)
    of_units[order] = hashes[np.cumsum(inside == 0) - 1]
    return of_units


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


@dataclass(frozen=True, slots=True)
class Group:
    """The units whose documents share a data file."""

    partition: tuple[tuple[str, str | None], ...]
    bucket: int
    units: tuple[SourceUnit, ...]

    def inputs(self, layout: TableLayout, decision_key: str) -> str:
        """Digest of all that decides the bytes of this group's files; a unit's id covers its scoring key."""
        units = sorted(unit.id for unit in self.units)
        keys = [[[key.source, key.part] for key in layout.column_keys]] if layout.column_keys else []
        return digest("group/1", LAYOUT_VERSION, decision_key, layout.carried, units, *keys)

    @property
    def members(self) -> str:
        """Digest of the group's units, whatever is decided of them."""
        return digest("members/1", sorted(unit.id for unit in self.units))[:32]

    @property
    def folder(self) -> str:
        return partition_path(list(self.partition))


class Groups(Sequence[Group]):
    """Groups of units, of which each takes 100 bytes beside 8 for each unit; a group is made anew when it is read."""

    def __init__(self, units: SourceUnits) -> None:
        """Begin without a group."""
        self._units = units
        self._places: list[Places] = []
        self.heads: list[tuple[Partition, int]] = []  # partition and bucket of each

    def add(self, partition: Partition, bucket: int, places: Places) -> None:
        """Adds a group of the units at some places."""
        self.heads.append((partition, bucket))
        self._places.append(places.astype(np.int32))

    def __len__(self) -> int:
        return len(self.heads)

    @overload
    def __getitem__(self, index: int) -> Group: ...
    @overload
    def __getitem__(self, index: slice) -> list[Group]: ...
    def __getitem__(self, index: int | slice) -> Group | list[Group]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        return Group(*self.heads[index], self._units.take(self._places[index]))

    @cached_property
    def members(self) -> list[str]:
        """The digest of each group's units, whatever is decided of them."""
        return [group.members for group in self]

    @property
    def unit_ids(self) -> IdArray:
        """The ids of all units of all groups."""
        return self._units.ids


@dataclass(frozen=True, slots=True)
class GroupFile:
    """One file of a group, not yet stored."""

    kind: str  # data | errors
    partition: Partition  # what its documents bring of it
    name: str
    data: bytes = field(repr=False)
    sha256: str
    rows: int
    labels: dict[str, int]
    unlabelled: int
    scores: dict[str, list[int]]
    documents_digest: str
    rows_digest: int | None


def build_files(
    group: Group,
    fragments: list[pa.Table],
    layout: TableLayout,
    task: PublishedTask,
    scoring_key: str,
) -> list[GroupFile]:
    """Builds a group's files; a kind without rows has none. `fragments`: one per unit, in order."""
    documents = pa.concat_tables(
        _with_source(fragment, unit, layout) for fragment, unit in zip(fragments, group.units, strict=True)
    )
    documents = documents.append_column("scoring_key", pa.repeat(scoring_key, len(documents)))
    documents = documents.append_column("decision_key", pa.repeat(task.key, len(documents)))
    documents = documents.sort_by([(name, "ascending") for name in ("id", "source_uri", "source_position")])
    parts = divide(documents, layout.column_keys)
    return [file for partition, part in parts for file in _files(group, partition, part, layout, task) if file.rows]


def _files(
    group: Group, partition: Partition, documents: pa.Table, layout: TableLayout, task: PublishedTask
) -> list[GroupFile]:
    failed = pc.is_valid(documents["reason"])
    predictions = _predictions(documents.filter(pc.invert(failed)), layout, task)
    schema = errors_schema(layout.carried_fields)
    errors = documents.filter(failed).select(schema.names).cast(schema)
    kinds = {"data": predictions, "errors": errors}
    return [group_file(kind, group.bucket, rows, partition) for kind, rows in kinds.items()]


def _with_source(fragment: pa.Table, unit: SourceUnit, layout: TableLayout) -> pa.Table:
    values = dict(unit.partitions)
    fragment = fragment.rename_columns({"position": "source_position"})
    fragment = fragment.append_column("source_uri", pa.repeat(unit.source_uri, len(fragment)))
    for key in layout.carried:
        value = pa.scalar(values.get(key), pa.string())
        fragment = fragment.append_column(key, pa.repeat(value, len(fragment)))
    if layout.columns:
        carried = fragment[CARRIED].combine_chunks()
        for field in layout.columns:
            fragment = fragment.append_column(field, pc.struct_field(carried, [field.name]))
        fragment = fragment.drop_columns([CARRIED])
    return fragment


def _predictions(documents: pa.Table, layout: TableLayout, task: PublishedTask) -> pa.Table:
    schema = predictions_schema(task.fields, layout.carried_fields)
    if not len(documents):
        return schema.empty_table()
    outputs = documents[task.output.name].combine_chunks()
    documents = documents.drop_columns([task.output.name])
    for column, values in zip(task.fields, task.decide(outputs), strict=True):
        documents = documents.append_column(column, values)
    return documents.select(schema.names).cast(schema)


def group_file(kind: str, bucket: int, rows: pa.Table, partition: Partition = ()) -> GroupFile:
    """Makes a file of rows that are sorted by id. Its bytes are a function of the rows.

    `partition`: what the rows have in common that the paths alone say, beside the group's own.
    """
    data = parquet_bytes(rows, sorted_by_id=True)
    sha256 = hashlib.sha256(data).hexdigest()
    labels, unlabelled = label_counts(rows)
    name = f"part-{bucket:04d}-{sha256[:16]}.parquet"
    return GroupFile(
        kind=kind,
        partition=partition,
        name=name,
        data=data,
        sha256=sha256,
        rows=len(rows),
        labels=labels,
        unlabelled=unlabelled,
        scores=score_histograms(rows),
        documents_digest=documents_digest(rows),
        rows_digest=rows_digest(rows),
    )


def documents_digest(rows: pa.Table) -> str:
    """Digests ids and contents of a file's rows, in their order, whatever was predicted of them."""
    digested = hashlib.sha256()
    for name in ("id", "content_sha256"):
        if name in rows.schema.names:  # errors have no content
            values = rows[name].to_pylist()
            digested.update(np.array([len(value) for value in values], "<i8").tobytes())
            digested.update("".join(values).encode())
    return digested.hexdigest()[:32]


def label_counts(rows: pa.Table) -> tuple[dict[str, int], int]:
    """Counts the documents that have each label, entity of a kind or answer to a question, and those with none at all.

    Of several in one document each is counted once. A table without such a column: nothing, and no document.
    """
    if "label" in rows.schema.names:
        documents, labels = pa.array(np.arange(len(rows))), rows["label"].combine_chunks()
    elif list_columns := {"labels", "entities", "answers"} & {*rows.schema.names}:
        column = rows[list_columns.pop()].combine_chunks()
        documents, labels = pc.list_parent_indices(column), _names(column.flatten())
    else:
        return {}, 0
    pairs = pa.table({"document": documents, "label": labels}).filter(pc.is_valid(labels))
    pairs = pairs.group_by(["document", "label"]).aggregate([])
    counts = pc.value_counts(pairs["label"]).to_pylist()
    named = {row["values"]: row["counts"] for row in counts}
    return named, len(rows) - pc.count_distinct(pairs["document"]).as_py()


def _names(values: pa.Array) -> pa.Array:
    """What is counted of the values of a list column: labels, kinds of entities, questions that have an answer."""
    if not pa.types.is_struct(values.type):
        return values
    fields = values.flatten()
    if "answer" not in values.type.names:
        return fields[values.type.get_field_index("label")]
    question, answer = (fields[values.type.get_field_index(n)] for n in ("question", "answer"))
    return pc.if_else(pc.is_valid(answer), question, pa.scalar(None, pa.string()))
