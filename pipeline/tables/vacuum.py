"""Deletes what nothing in a table needs: in two phases, so that a run or a reader that is at work is never hurt.

    _vacuum/unreachable.parquet   what nothing needs, and since when it is listed here
    _vacuum/clock                 put anew at the start: its time is the store's own
    _vacuum/records/<id>.json     what a vacuum has deleted: counts and bytes by kind, no name of an object

The first vacuum that finds an object unreachable lists it. One that comes at least `grace_days` later deletes it, if
all that time nobody has written it anew and nothing needs it now. Both phases are one command, so that a vacuum every
night lists what is new and deletes what was listed a week before.

Killed between any two deletes, the next vacuum goes on: the list still holds the rest. Before the first file of a
snapshot goes, a note beside its manifest says so, for `find` to refuse it; before the first fragment of a scoring key
goes, the files of its index go that name one.
"""

import contextlib
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.schema import DOCUMENT_LOGITS
from pipeline.storage.objects import TRANSFERS
from pipeline.tables.content_index import ContentIndex
from pipeline.tables.erased_ids import Erasures
from pipeline.tables.fragments import Fragments
from pipeline.tables.object_names import PATTERNS, ObjectName, object_name
from pipeline.tables.reachability import DAY_SECONDS, Needs, NeedsReader, Retention
from pipeline.tables.repeatable_parquet import parquet_bytes, read_parquet
from pipeline.tables.snapshot_units import DigestSet
from pipeline.tables.snapshots import Snapshots
from pipeline.tables.unreachable import Amount, Findings, find_unreachable

LIST = "_vacuum/unreachable.parquet"
CLOCK = "_vacuum/clock"
DELETED_TOGETHER = 1024  # objects, between two looks at what is needed
ENDS = DELETED_FIRST, DELETED_LAST = "index", "claims"
_Row = tuple[ObjectName, dict[str, Any]]  # of the unreachable objects


@dataclass(frozen=True)
class Review:
    """What a vacuum has found. `marked`: the unreachable objects, with `since`, when each was listed first."""

    needs: Needs
    findings: Findings
    marked: pa.Table

    @cached_property
    def due(self) -> pa.Table:
        """Those that may go now: listed, and not written anew, for the time of grace."""
        start = self.needs.now - self.needs.retention.grace_days * DAY_SECONDS
        old = pc.less_equal(self.marked["since"], start), pc.less_equal(self.marked["modified"], start)
        return self.marked.filter(pc.and_(*old))


@dataclass(slots=True)
class Deleted:
    """What a vacuum has deleted: by kind, and the numbers of the snapshots whose files went."""

    amounts: dict[str, Amount] = field(default_factory=lambda: defaultdict(Amount))
    snapshots: list[int] = field(default_factory=list)


def amounts_by_kind(rows: pa.Table) -> dict[str, Amount]:
    """Counts unreachable objects, and their bytes, by kind."""
    sums = rows.group_by("kind").aggregate([([], "count_all"), ("bytes", "sum")]).sort_by("kind").to_pylist()
    return {row["kind"]: Amount(row["count_all"], row["bytes_sum"]) for row in sums}


def review(snapshots: Snapshots, retention: Retention, named_by_lakes: frozenset[str] = frozenset()) -> Review:
    """Looks at what a vacuum would do now, and writes nothing. Raises as `vacuum`."""
    _check_table(snapshots)
    return _reviewed(snapshots, NeedsReader(snapshots, retention, named_by_lakes), time.time())


def vacuum(
    snapshots: Snapshots,
    retention: Retention,
    tell: Callable[[str], None],
    named_by_lakes: frozenset[str] = frozenset(),
) -> tuple[Review, Deleted]:
    """Lists what nothing needs, and deletes what was listed long enough ago. `tell`: is told how far it is.

    `named_by_lakes`: paths that lake tables name, which stay.

    Raises:
        ConfigError: nothing was published there, a needed file is missing, or another table lies inside or around.
        ConflictError: an erasure is at work or was killed.
        StorageError: the store failed; run again.
        AccessError: the store refuses to delete.
    """
    _check_table(snapshots)
    Erasures(snapshots.storage, snapshots.table_uri).check_finished()  # both replace what lies beside a manifest
    reader = NeedsReader(snapshots, retention, named_by_lakes)
    found = _reviewed(snapshots, reader, _store_s_now(snapshots))
    due = found.due
    _put_list(snapshots, found.marked)
    if not len(due):
        return found, Deleted()
    deleted = _Sweep(snapshots, found).run(reader, tell)
    gone = pc.is_in(found.marked["path"], value_set=due["path"].combine_chunks())
    _put_list(snapshots, found.marked.filter(pc.invert(gone)))
    return found, deleted


def _check_table(snapshots: Snapshots) -> None:
    if snapshots.latest() is None:
        raise ConfigError(f"{snapshots.nothing_published('snapshot')}. Nothing was deleted")


def _reviewed(snapshots: Snapshots, reader: NeedsReader, now: float) -> Review:
    needs = reader.read(now)
    findings = find_unreachable(snapshots, needs)
    listed = _listed(snapshots)
    place = pc.index_in(findings.unreachable["path"], value_set=listed["path"].combine_chunks())
    since = pc.fill_null(listed["since"].combine_chunks().take(place), now)
    return Review(needs, findings, findings.unreachable.append_column("since", since))


def _store_s_now(snapshots: Snapshots) -> float:
    """The store's own clock, as all times of objects are: a machine's may be wrong by days."""
    uri = snapshots.uri(CLOCK)
    snapshots.storage.put(uri, b"")
    clock = snapshots.storage.stat(uri)
    return clock.modified if clock and clock.modified else time.time()


def _listed(snapshots: Snapshots) -> pa.Table:
    """Reads paths and times of the list of an earlier vacuum."""
    try:
        listed = read_parquet(snapshots.storage.read(snapshots.uri(LIST)), ["path", "since"])
    except FileNotFoundError:
        return pa.table({"path": pa.array([], pa.string()), "since": pa.array([], pa.float64())})
    seconds = pc.divide(listed["since"].cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64()), 1e6)
    return listed.select(["path"]).append_column("since", seconds)


def _put_list(snapshots: Snapshots, marked: pa.Table) -> None:
    # as a time that people can read, and never earlier than it was
    since = pc.ceil(pc.multiply(marked["since"], 1e6)).cast(pa.int64()).cast(pa.timestamp("us", "UTC"))
    listed = marked.select(["path", "kind", "bytes"]).append_column("since", since)
    snapshots.storage.put(snapshots.uri(LIST), parquet_bytes(listed))


def _in_order(due: pa.Table) -> Iterator[pa.Table]:
    for kinds in ([DELETED_FIRST], [kind for kind in PATTERNS if kind not in ENDS], [DELETED_LAST]):
        some = due.filter(pc.is_in(due["kind"], value_set=pa.array(kinds)))
        yield from (some.slice(start, DELETED_TOGETHER) for start in range(0, len(some), DELETED_TOGETHER))


class _Sweep:
    """Deletes what is due, and writes down what went as it goes."""

    def __init__(self, snapshots: Snapshots, found: Review) -> None:
        self._snapshots = snapshots
        self._due = found.due
        self._deleted = Deleted()
        self._without_index: set[str] = set()  # scoring keys
        self._now = found.needs.now
        began = datetime.fromtimestamp(self._now, UTC)
        self._path = f"_vacuum/records/{began:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.json"
        self._record: dict[str, Any] = {
            "began_at": _moment(self._now),
            "ended_at": None,
            "rookery": version("rookery"),
            "retention": asdict(found.needs.retention),
            "due": {kind: amount._asdict() for kind, amount in amounts_by_kind(self._due).items()},
        }

    def run(self, reader: NeedsReader, tell: Callable[[str], None]) -> Deleted:
        """Deletes part by part what nothing needs when it is its turn."""
        self._put_record()
        with ThreadPoolExecutor(TRANSFERS) as pool:
            for part in _in_order(self._due):
                objects = sum(amount.objects for amount in self._deleted.amounts.values())
                tell(f"{objects:,} of {len(self._due):,} objects deleted")
                needs = reader.read(self._now)
                going = list(_still_unneeded(part, needs))
                self._mark_snapshots(going, needs)
                self._remove_index(going)
                went = pool.map(self._delete, [row["path"] for _, row in going])
                for (name, row), is_gone in zip(going, went, strict=True):
                    if is_gone:
                        self._count(name.kind, row["bytes"])
                self._put_record()
        self._record["ended_at"] = _moment(time.time())
        self._put_record()
        return self._deleted

    def _mark_snapshots(self, going: list[_Row], needs: Needs) -> None:
        for number in sorted({name.snapshot for name, _ in going if name.snapshot in needs.given_up} - {None}):
            self._snapshots.mark_vacuumed(number, {"vacuumed_at": _moment(self._now), "record": self._path})
            self._deleted.snapshots.append(number)

    def _remove_index(self, going: list[_Row]) -> None:
        """Before the first fragment of a key goes, what names those that go in this vacuum."""
        keys = {str(name.scoring_key) for name, _ in going if name.kind == "fragments"}
        for key in sorted(keys - self._without_index):
            fragments = Fragments(self._snapshots.storage, self._snapshots.table_uri, key, DOCUMENT_LOGITS)
            for file in ContentIndex(fragments).remove(_units_of(key, self._due)):
                self._count("index", file.size)
        self._without_index |= keys

    def _delete(self, path: str) -> bool:
        with contextlib.suppress(FileNotFoundError):  # a vacuum at the same time was first
            self._snapshots.storage.delete(self._snapshots.uri(path))
            return True
        return False

    def _count(self, kind: str, size: int) -> None:
        self._deleted.amounts[kind] = self._deleted.amounts[kind].plus(1, size)

    def _put_record(self) -> None:
        amounts = {kind: amount._asdict() for kind, amount in sorted(self._deleted.amounts.items())}
        tree = self._record | {"deleted": amounts, "vacuumed_snapshots": sorted(self._deleted.snapshots)}
        self._snapshots.storage.put(self._snapshots.uri(self._path), json.dumps(tree, indent=1).encode() + b"\n")


def _still_unneeded(part: pa.Table, needs: Needs) -> Iterator[_Row]:
    for row in part.to_pylist():
        name = object_name(row["path"])
        assert name is not None  # it was listed under its kind
        if needs.reason(row["path"], name, row["modified"]) is None:
            yield name, row


def _units_of(key: str, due: pa.Table) -> DigestSet:
    """The units of a scoring key whose fragments are due."""
    paths = due.filter(pc.starts_with(due["path"], f"_units/{key}/"))
    fragments = paths.filter(pc.equal(paths["kind"], "fragments"))["path"].to_pylist()
    names = (path.rpartition("/")[2].removesuffix(".parquet") for path in fragments)
    return DigestSet.of(bytes.fromhex("".join(names)))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
