"""A unit's fragment from rows that are there: those computed now, and those that other units have of the same texts.

A row that is taken over keeps everything but its id, its position and what is carried of the corpus's columns, which
are the document's own. It stands for the one that computing again would give, to the bit, because a document's scores
depend on its text alone.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import ERROR_FIELDS, append_carried, fragment_schema
from pipeline.storage.objects import TRANSFERS
from pipeline.tables.erased_ids import erased_count, without_marked
from pipeline.tables.failures import transfer_batches
from pipeline.tables.fragments import Fragments
from pipeline.tables.scratch import Scratch


class Sources(NamedTuple):
    """A unit, and the units whose rows it lacks."""

    unit: str
    others: tuple[str, ...]


class Assembled(NamedTuple):
    """What a fragment was put together of, beside the documents that were computed for it."""

    taken_over: int  # documents whose rows other units had, or another document of this one
    unreadable: int  # documents that are errors and had no row anywhere


@dataclass(frozen=True, slots=True)
class Assembly:
    """Puts fragments together; called with a unit's `Sources`, it writes its fragment."""

    fragments: Fragments

    def __call__(self, sources: Sources) -> Assembled | None:
        """Writes a unit's fragment, and removes what was kept for it.

        Gives None where a row is nowhere to be found, as when a fragment was removed meanwhile: then it has to be
        computed. Needs the unit's documents in the scratch. Raises StorageError.
        """
        scratch = Scratch(self.fragments)
        try:
            records = scratch.documents(sources.unit)
        except FileNotFoundError:
            return None
        computed = scratch.computed(sources.unit)
        n_computed = 0 if computed is None else len(computed)
        wanted = set(records["content_sha256"].drop_null().to_pylist())
        known = [] if computed is None else [computed]
        known += self._scored_rows(sources.others, wanted)
        schema = fragment_schema(self.fragments.output)
        rows = pa.concat_tables(rows.select(schema.names) for rows in known) if known else schema.empty_table()
        at = _places(records, rows, n_computed)
        if at is None:
            return None
        fragment = without_marked(_fragment(records, rows.take(at)))
        self.fragments.write(sources.unit, fragment)
        scratch.remove([sources.unit])
        unreadable = len(records) - records["reason"].null_count - erased_count(fragment)
        return Assembled(len(fragment) - n_computed - unreadable, unreadable)

    def _scored_rows(self, units: tuple[str, ...], wanted: set[str]) -> Iterator[pa.Table]:
        """Of some units the rows with scores of texts that are wanted; few units are held at a time."""
        for some in transfer_batches(list(units)):
            with ThreadPoolExecutor(TRANSFERS) as pool:
                of_units = [rows for rows in pool.map(self._rows, some) if rows is not None]
            for rows in of_units:
                rows = rows.filter(pc.is_in(rows["content_sha256"], pa.array(list(wanted), pa.string())))
                yield rows.filter(pc.is_null(rows["reason"]))

    def _rows(self, unit: str) -> pa.Table | None:
        """What was computed of a unit, first: when that is gone, its fragment is there."""
        if (computed := Scratch(self.fragments).computed(unit)) is not None:
            return computed
        try:
            return self.fragments.read([unit])[0]
        except FileNotFoundError:
            return None


def _places(records: pa.Table, rows: pa.Table, computed: int) -> pa.Array | None:
    """For each record the row that is its own, of which the first `computed` are the unit's; null where it needs none.

    None if a record has no row.
    """
    own = {position: at for at, position in enumerate(rows["position"][:computed].to_pylist())}
    scored = rows["reason"].is_null().to_pylist()
    digests = rows["content_sha256"].to_pylist()
    by_text = {digest: at for at, digest in enumerate(digests) if scored[at]}
    places: list[int | None] = []
    columns = (records[name].to_pylist() for name in ("position", "content_sha256", "reason"))
    for position, digest, reason in zip(*columns, strict=True):
        at = own.get(position, by_text.get(digest))
        if at is None and not reason:
            return None
        places.append(None if reason else at)
    return pa.array(places, pa.int64())


def _fragment(records: pa.Table, rows: pa.Table) -> pa.Table:
    """The rows, as documents of a unit: with its ids, positions and errors."""
    for name in ("id", "position"):
        rows = _with(rows, name, records[name])
    for name in (field.name for field in ERROR_FIELDS):
        rows = _with(rows, name, pc.coalesce(records[name], rows[name]))
    return append_carried(rows, records).combine_chunks()


def _with(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, rows.schema.field(at), values)
