"""Whether a table's store keeps what publishing rests on: asked with one empty object, which goes again."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from jobs.checks.examination import Check
from jobs.finding import Finding, failure_finding
from pipeline.config.label import Job
from pipeline.corpus.overlaps import check_apart
from pipeline.errors import AccessError, RetryableError, RookeryError
from pipeline.lakes.lake_commit import check_lake
from pipeline.lakes.lake_records import lakes_of
from pipeline.storage.local import is_local, nearest_above
from pipeline.storage.objects import WRITE_CHECK, Storage
from pipeline.tables.snapshots import Snapshots

CONDITION_TRIES = 3  # a run that looks whether it may write deletes the same object meanwhile
SKEW_S = 60.0  # a store's clock and this machine's; AWS refuses requests from 15 minutes on
SUBJECT = "table.uri"
STORE_ADVICE = "look whether the store can be reached from here (storage.endpoint_url, proxies), and run this again"
LAKE_ADVICE = "look at its catalog and its store: see docs/lakes.md"


def table_checks(jobs: list[Job], storage: Storage) -> list[Check]:
    """Lists the checks of where jobs write: each one's table and lake tables."""
    checks = []
    for job in jobs:
        checks.append(Check(SUBJECT, partial(table_store, storage, job), STORE_ADVICE))
        if job.publish.iceberg or job.publish.delta:
            checks.append(Check("publish", partial(lake_tables, storage, job), LAKE_ADVICE))
    return checks


def table_store(storage: Storage, job: Job) -> Iterator[Finding]:
    """Writes, refuses to write again, lists and deletes an object, where the table is or will be.

    Raises ConfigError, AccessError, StorageError.
    """
    uri = job.table.uri
    check_apart(storage, {"corpus.uris": job.corpus}, {SUBJECT: uri}, job.checkpoint)
    storage.check_writable(uri, f"{SUBJECT} {uri}")
    yield Finding(SUBJECT, "ok", f"{uri} can be written")
    folder = _folder_there(storage, uri)
    probe = f"{folder}/{WRITE_CHECK}"
    try:
        yield put_if_absent(storage, probe)
        before = time.time()
        storage.put(probe, b"")
        after = time.time()
        yield listing(storage, folder, probe)
        yield from clock(storage, probe, (before + after) / 2)
    finally:
        removed = _removed(storage, probe)
    if removed:
        yield Finding("deleting", "ok", "works")
    else:
        seen = f"is refused, and {probe} (0 bytes) stays; runs can publish all the same"
        advice = "for vacuum and erase, allow s3:DeleteObject below the table"
        yield Finding("deleting", "warning", seen, advice)


def put_if_absent(storage: Storage, uri: str) -> Finding:
    """Looks whether a store refuses a second put of an object on the condition that there is none."""

    def is_refused() -> bool:
        return storage.put_or_read(uri, b"") == storage.put_or_read(uri, b"second")

    if any(is_refused() for _ in range(CONDITION_TRIES)):
        return Finding("put if absent", "ok", "a second put is refused")
    advice = "take a store that keeps S3's `If-None-Match: *`: without it two runs can publish one snapshot"
    return Finding("put if absent", "failure", "the store let a second put replace the first", advice)


def listing(storage: Storage, folder: str, uri: str) -> Finding:
    """Looks whether a listing shows an object that was just put."""
    name = uri.rpartition("/")[2]
    if any(file.uri.rpartition("/")[2] == name for file in storage.files_in(folder)):
        return Finding("listing", "ok", "shows an object that was just put")
    advice = "take a store whose listings are consistent; a cache or a gateway before it may be why"
    return Finding("listing", "failure", "doesn't show an object that was just put", advice)


def clock(storage: Storage, uri: str, put_at: float) -> Iterator[Finding]:
    """Compares the time that a store gives an object with this machine's when it was put, in seconds since 1970."""
    stored = storage.stat(uri)
    if stored is None or not stored.modified:
        return  # a store without times: nothing is compared with them
    skew = stored.modified - put_at
    if abs(skew) < SKEW_S:
        yield Finding("clock", "ok", f"within {SKEW_S:g} s of the store's")
        return
    seen = f"the store's is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    yield Finding("clock", "warning", seen, "set this machine's clock (NTP): AWS refuses requests that are 15 min off")


def lake_tables(storage: Storage, job: Job) -> Iterator[Finding]:
    """Looks at the lake tables that follow the table. Raises ConfigError."""
    for lake in lakes_of(job.publish, storage):
        try:
            check_lake(lake, Snapshots(storage, job.table.uri))
        except RookeryError as error:
            yield failure_finding("publish", error, LAKE_ADVICE)
        else:
            yield Finding("publish", "ok", f"{lake.name} can be reached")


def _folder_there(storage: Storage, uri: str) -> str:
    """The table's folder, or on a disk the nearest above it that is there: none is made."""
    filesystem, path = storage.filesystem(uri)
    if not is_local(filesystem):
        return uri.rstrip("/")
    return str(nearest_above(Path(path) / WRITE_CHECK)).rstrip("/")


def _removed(storage: Storage, uri: str) -> bool:
    with contextlib.suppress(AccessError, RetryableError, FileNotFoundError):
        storage.delete(uri)
    with contextlib.suppress(AccessError, RetryableError):
        return storage.stat(uri) is None
    return False
