"""Ids that were erased from a table: whoever reads documents, or what is kept of them, leaves these out.

    <table>/_erased/salt                32 random bytes, put if absent: of this table alone
    <table>/_erased/<list>.ids          digests of the ids of one erasure, ascending, 16 bytes each
    <table>/_erased/<list>.unfinished   from before the list is there until the erasure is done: what it set out to do
    <table>/_erased/<list>.json         its receipt: see receipts.py
    <table>/_erased/runs/               which erasures are alive: see heartbeats.py

The list is the first thing that an erasure makes visible: a run that is planned from then on keeps nothing of these
documents, wherever the corpus has them. A digest is BLAKE2b keyed with the salt, of 128 bits: that one of 10⁹ documents
has the digest of one of 10⁶ erased ids by accident has a chance of 3 in 10²⁴. Lists of two tables can't be compared;
but who can read a table can try whether an id that he knows is on its list.
"""

import hashlib
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConflictError, RetryableError, RookeryError
from pipeline.schema import DOCUMENTS, with_carried
from pipeline.storage.objects import Storage

DIGEST_BYTES = 16
SALT_BYTES = 32
LIST_ENDING, UNFINISHED_ENDING = ".ids", ".unfinished"
NO_RUNS = b'{"runs": []}\n'  # a journal, as receipts.py reads it
NO_POSITION = -1
ERASED_REASON = "erased"
# a document of the corpus on its way to its fragment, which only counts it: this is no reason of a row that is kept
ERASED_DOCUMENT = {"position": NO_POSITION, "stage": "read", "reason": ERASED_REASON, "message": "was erased"}
ERASED_KEY = b"erased"  # in a fragment's metadata: how many documents of its unit were left out


@dataclass(frozen=True, slots=True)
class ErasedLists:
    """The names of a table's lists: what is sent to workers, who read them once for each process (`erased_ids`)."""

    names: tuple[str, ...] = ()
    finished: bool = True  # whether every erasure has ended; else what was published or counted before may hold ids


@dataclass(frozen=True, slots=True)
class ErasedIds:
    """The ids on lists of one table, as digests; 16 bytes each."""

    salt: bytes = b""
    digests: bytes = field(default=b"", repr=False)  # ascending, end to end

    @classmethod
    def of(cls, ids: Iterable[str], salt: bytes) -> "ErasedIds":
        """Makes it of ids."""
        return cls(salt, digests=b"".join(sorted({_digest(id_, salt) for id_ in ids})))

    def holds(self, ids: list[str | None]) -> npt.NDArray[np.bool_]:
        """Tells of each id whether it was erased."""
        if not self.digests or not ids:
            return np.zeros(len(ids), bool)
        erased = np.frombuffer(self.digests, f"S{DIGEST_BYTES}")
        asked = np.frombuffer(b"".join(_digest(id_ or "", self.salt) for id_ in ids), erased.dtype)
        at = np.minimum(np.searchsorted(erased, asked), len(erased) - 1)
        return np.asarray(erased[at] == asked)

    def among(self, ids: list[str | None]) -> set[str]:
        """Picks the ids that were erased."""
        is_erased = self.holds(ids).tolist()
        return {id_ for id_, erased in zip(ids, is_erased, strict=True) if erased and id_}

    def marked(self, documents: pa.Table) -> pa.Table:
        """Takes all that is known of erased documents out of DOCUMENTS; a row for each stays, so that they count."""
        is_erased = self.holds(documents["id"].to_pylist())
        if not is_erased.any():
            return documents
        marks = pa.Table.from_pylist(
            [ERASED_DOCUMENT] * int(is_erased.sum()), schema=with_carried(DOCUMENTS, documents.schema)
        )
        return pa.concat_tables([documents.filter(pa.array(~is_erased)), marks])

    def without_erased(self, rows: pa.Table) -> pa.Table:
        """Takes the rows of erased documents out of what is kept of a unit, and adds them to its count."""
        is_erased = self.holds(rows["id"].to_pylist())
        if not is_erased.any():
            return rows
        return with_erased_count(rows.filter(pa.array(~is_erased)), erased_count(rows) + int(is_erased.sum()))


NOTHING_ERASED = ErasedLists()


def erased_count(rows: pa.Table) -> int:
    """Reads how many documents of a unit were left out of its fragment."""
    return int((rows.schema.metadata or {}).get(ERASED_KEY, 0))


def without_marked(rows: pa.Table) -> pa.Table:
    """Takes the rows of documents that `ErasedIds.marked` marked out of a unit's fragment, which counts them."""
    is_erased = pc.fill_null(pc.equal(rows["reason"], ERASED_REASON), False)
    return with_erased_count(rows.filter(pc.invert(is_erased)), pc.sum(is_erased).as_py() or 0)


def with_erased_count(rows: pa.Table, count: int) -> pa.Table:
    """Notes how many documents of a unit were left out of its fragment."""
    return rows.replace_schema_metadata({ERASED_KEY: str(count)}) if count else rows


@dataclass(frozen=True, slots=True)
class Erasures:
    """The lists of one table."""

    storage: Storage
    table_uri: str

    @property
    def folder(self) -> str:
        return f"{self.table_uri.rstrip('/')}/_erased"

    def uri(self, name: str) -> str:
        """Names an object by its name in the folder."""
        return f"{self.folder}/{name}"

    def read(self) -> ErasedLists:
        """Lists the lists: one request, and nothing is read."""
        stored = [file.uri.rpartition("/")[2] for file in self.storage.find(self.folder)]
        lists, unfinished = _with_ending(stored, LIST_ENDING), _with_ending(stored, UNFINISHED_ENDING)
        return ErasedLists(tuple(lists), finished=not {*lists} & {*unfinished})

    def unfinished(self) -> list[str]:
        """Names the lists whose erasures have not ended, those that were killed too."""
        stored = [file.uri.rpartition("/")[2] for file in self.storage.find(self.folder)]
        return [name for name in _with_ending(stored, LIST_ENDING) if name + UNFINISHED_ENDING in stored]

    def ids(self, lists: ErasedLists) -> ErasedIds:
        """Reads what is on some lists. Raises RookeryError where the salt is gone."""
        if not lists.names:
            return ErasedIds()
        try:
            salt = self.storage.read(self.uri("salt"))
        except FileNotFoundError as error:
            raise RookeryError(
                f"{self.uri('salt')}: is gone, so nobody can tell which ids were erased from this table; restore it"
            ) from error
        blobs = self.storage.read_all([self.uri(name + LIST_ENDING) for name in lists.names])
        ascending = np.sort(np.frombuffer(b"".join(blobs), f"S{DIGEST_BYTES}"))
        return ErasedIds(salt, ascending.tobytes())

    def check_finished(self) -> ErasedLists:
        """Lists the lists. Raises ConflictError where an erasure is not done: what was made before may hold its ids."""
        lists = self.read()
        if not lists.finished:
            raise ConflictError(
                f"{self.table_uri}: an erasure is at work or was killed, so that snapshots and candidates may hold its "
                "ids; run `rookery erase` to its end first"
            )
        return lists

    def check_same(self, before: ErasedLists) -> None:
        """Raises RetryableError where a list was added after `before` was read: what was made may hold its ids."""
        if self.read().names != before.names:
            raise RetryableError(
                f"{self.folder}: ids were erased from this table meanwhile; nothing was published; run again: finished "
                "units are kept"
            )

    def begin(self, ids: Collection[str]) -> str:
        """Makes the list of some ids visible, and that it is not done; gives its name, the same for the same ids."""
        salt = self.storage.put_or_read(self.uri("salt"), secrets.token_bytes(SALT_BYTES))
        digests = ErasedIds.of(ids, salt).digests
        name = hashlib.sha256(digests).hexdigest()[:32]
        # in this order: nobody ever sees the list and takes it for done
        self.storage.put_if_absent(self.uri(name + UNFINISHED_ENDING), NO_RUNS)
        self.storage.put_if_absent(self.uri(name + LIST_ENDING), digests)
        return name


@lru_cache(maxsize=4)
def erased_ids(erasures: Erasures, lists: ErasedLists) -> ErasedIds:
    """Reads what is on some lists, once for each process: a list never changes."""
    return erasures.ids(lists)


def _with_ending(names: list[str], ending: str) -> list[str]:
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))


def _digest(id_: str, salt: bytes) -> bytes:
    return hashlib.blake2b(id_.encode(), digest_size=DIGEST_BYTES, key=salt).digest()
