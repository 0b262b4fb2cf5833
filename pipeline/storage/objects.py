"""Storage, which asks every store, by URI.

Two rules of the stores that the table's promises rest on:

* An object appears whole or not at all. Object stores give this; on local disk a file is written under a hidden name
  and linked into place.
* `put_if_absent` decides by looking. A refused or failed PUT may be our own whose reply was lost, so the object is read
  back: the same bytes are success, other bytes are somebody else's.

What a store fails to do for now is tried again for `storage.retry`, in whatever is asked of it; a disk of this
machine is not waited for.

A listing that can't be had whole is an error: fsspec's own `glob` and local `find` leave out a folder that they can't
list.
"""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Concatenate, ParamSpec, cast

import fsspec

from pipeline.config.label import StorageSettings
from pipeline.errors import AccessError, CheckpointError, ConfigError, SourceChangedError
from pipeline.messages import did_you_mean
from pipeline.packed import PackedList
from pipeline.storage.checkpoint_copies import copied, is_mlflow_model, made_once
from pipeline.storage.hub import fetch_from_hub
from pipeline.storage.listings import Listing, StoredFile, by_uri
from pipeline.storage.local import create_local, is_local, list_local, nearest_above, replace_local, stat_local
from pipeline.storage.patterns import above_wildcards, can_match_below, has_wildcards, matcher
from pipeline.storage.registered_models import (
    REGISTRY,
    PinnedCheckpoint,
    artifact_folder,
    copy_name,
    download_version,
    pinned_version,
)
from pipeline.storage.remote import MAX_SINGLE_PUT, create_remote, is_file, list_remote, remote_file, stat_remote
from pipeline.storage.retries import Answer, patiently
from pipeline.storage.store_errors import explain, explain_writing, raised_by_stores
from pipeline.storage.whole_files import whole_local_file, whole_remote_file

P = ParamSpec("P")
Request = Callable[Concatenate["Storage", str, P], Answer]
CREATIONS = 16  # tries at an object that others create and delete at the same time
TRANSFERS = 16  # objects copied or fetched at a time; each waits on the network, not on a core
HUB = "hf"  # the scheme of its URIs
ONE_SLASH = re.compile(r"(?:s3a?|gs|gcs|hf|abfss?|az|https?|file|memory):/(?!/)")
WRITE_CHECK = ".rookery-write-check"


def _patient(ask: Request[P, Answer]) -> Request[P, Answer]:
    """A method that asks a store, and may be asked again: whatever it did comes to the same if done twice."""

    @functools.wraps(ask)
    def wrapper(self: "Storage", uri: str, /, *arguments: P.args, **named: P.kwargs) -> Answer:
        return self.patiently(uri, lambda: ask(self, uri, *arguments, **named))

    return wrapper


@dataclass(frozen=True, slots=True)
class Storage:
    """Every store this job can reach. Small and picklable: credentials stay in each machine's environment."""

    settings: StorageSettings = field(default_factory=StorageSettings)

    def patiently(self, uri: str, ask: Callable[[], Answer]) -> Answer:
        """Calls `ask`, which asks the store of `uri` something, again for `storage.retry` where that may help."""
        return patiently(ask, _scheme(uri), self.settings.retry)

    def canonical(self, uri: str) -> str:
        """Gives the one spelling of a URI that rows and manifests carry: absolute, with its scheme."""
        filesystem, path = self._at(uri)
        return str(filesystem.unstrip_protocol(path))

    def filesystem(self, uri: str) -> tuple[Any, str]:
        """Gives the fsspec filesystem of a URI and the path there, for libraries that read by themselves."""
        return self._at(uri)

    def find(self, uri: str) -> Sequence[StoredFile]:
        """Lists the files that a URI means: a file, everything in a folder, or a glob. Sorted; empty if there are none.

        Raises NoBucketError for a bucket that does not exist.
        """
        return self.look(uri).files

    @_patient
    def look(self, uri: str) -> Listing:
        """Lists what a URI means and what lies beside it. Raises NoBucketError, or ConfigError for a wrong pattern."""
        filesystem, path = self._at(uri)
        with explain(uri):
            listed, odd = _listed(filesystem, path)
            files = by_uri(listed)
            if files or odd or not has_wildcards(path):
                return Listing(str(filesystem.unstrip_protocol(path)), False, files, files, odd)
            is_match = matcher(uri, path)
            root = above_wildcards(path)
            listed, odd = _listed(filesystem, root or "/")
            below = by_uri(listed)
            files = PackedList(file for file in below if is_match(file.uri.partition("://")[2]))
            odd = [name for name in odd if is_match(name) or can_match_below(path, name)]
            return Listing(str(filesystem.unstrip_protocol(root)), True, files, below, odd)

    @_patient
    def commit(self, uri: str) -> str | None:
        """Asks for the commit that the revision of a hub's data set is now; None where a store has no commits."""
        if _scheme(uri) != HUB:
            return None
        filesystem, path = self._at(uri)
        return str(filesystem.commit(above_wildcards(path)))

    @_patient
    def is_folder(self, uri: str) -> bool:
        """Tells whether something lies below a URI; False too where it may not be listed."""
        filesystem, path = self._at(uri)
        with contextlib.suppress(AccessError), explain(uri):
            return bool(filesystem.isdir(path))
        return False

    def can_lie_in(self, uri: str, folder: str) -> bool:
        """Tells whether a file that a URI means, now or later, can lie in a folder, there or not. Follows links."""
        filesystem, path = self._at(uri)
        other, folder_path = self._at(folder)
        if filesystem.protocol != other.protocol:
            return False
        literal, pattern, root = path, path, above_wildcards(path)
        if is_local(filesystem):
            literal, folder_path = os.path.realpath(path), os.path.realpath(folder_path)
            pattern = os.path.realpath(root or "/").rstrip("/") + path.removeprefix(root)
        literal, folder_path = literal.rstrip("/"), folder_path.rstrip("/")
        if has_wildcards(path) and can_match_below(pattern, folder_path):
            return True
        inner, outer = sorted((f"{literal}/", f"{folder_path}/"), key=len, reverse=True)
        return inner.startswith(outer)

    def check_writable(self, folder: str, what: str) -> None:
        """Writes an empty object into a folder, as the table's are written, and removes it.

        A local folder that is not there yet is not made: it can be if something can be written into the one above.

        Raises:
            ConfigError: it can't be written, and waiting changes nothing; `what` begins the message.
            AccessError: the store refuses.
            StorageError: it may be possible later.
        """
        uri = f"{folder.rstrip('/')}/{WRITE_CHECK}"
        filesystem, path = self._at(uri)
        with explain_writing(what):
            if is_local(filesystem):
                there = nearest_above(Path(path))
                with contextlib.suppress(FileExistsError):  # of a run that looks at the same time
                    create_local(str(there / WRITE_CHECK), b"")
                (there / WRITE_CHECK).unlink(missing_ok=True)
                return
            self.put_if_absent(uri, b"")
            with contextlib.suppress(AccessError, FileNotFoundError):  # whoever may only write can label
                self.delete(uri)

    @_patient
    def folders_in(self, folder: str) -> list[str]:
        """Lists the URIs of the folders right below a folder."""
        filesystem, path = self._at(folder)
        with explain(folder), contextlib.suppress(FileNotFoundError):
            below = filesystem.ls(path, detail=True)
            names = [info["name"].rstrip("/") for info in below if info["type"] == "directory"]
            return [str(filesystem.unstrip_protocol(name)) for name in names]
        return []

    @_patient
    def files_in(self, folder: str) -> list[StoredFile]:
        """Lists the files right below a folder, sorted by URI."""
        filesystem, path = self._at(folder)
        files = []
        with explain(folder), contextlib.suppress(FileNotFoundError):
            for info in filter(is_file, filesystem.ls(path, detail=True)):
                with contextlib.suppress(FileNotFoundError):  # gone since
                    local = is_local(filesystem)
                    files.append(stat_local(info["name"]) if local else remote_file(filesystem, info["name"], info))
        return sorted(files, key=lambda file: file.uri)

    @_patient
    def stat(self, uri: str) -> StoredFile | None:
        """Looks at the object as it is now; None if there is none."""
        filesystem, path = self._at(uri)
        with explain(uri), contextlib.suppress(FileNotFoundError):
            if is_local(filesystem):
                return stat_local(path)
            return stat_remote(filesystem, path)
        return None

    @_patient
    def read(self, uri: str) -> bytes:
        """Reads the whole object. Raises FileNotFoundError."""
        filesystem, path = self._at(uri)
        with explain(uri):
            return cast(bytes, filesystem.cat_file(path))

    @_patient
    def read_range(self, uri: str, start: int, stop: int) -> bytes:
        """Reads the bytes [start, stop) of an object. Raises FileNotFoundError."""
        filesystem, path = self._at(uri)
        with explain(uri):
            return cast(bytes, filesystem.cat_file(path, start=start, end=stop))

    @contextlib.contextmanager
    def open(self, planned: StoredFile) -> Iterator[BinaryIO]:
        """Opens the version that was planned. Raises SourceChangedError where the object is no longer that one."""
        filesystem, path = self._at(planned.uri)
        self.check_unchanged(planned)
        try:
            with explain(planned.uri), self._opened(filesystem, path, planned.uri) as file:
                yield file
        finally:  # it may have changed in between, which can look like damage to the reader
            self.check_unchanged(planned)

    def _opened(self, filesystem: Any, path: str, uri: str) -> Any:
        """A file whose every request is patient: an open one asks its store, by its cache, as it is read."""

        def patient(ask: Callable[..., Answer]) -> Callable[..., Answer]:
            def once(*arguments: Any) -> Answer:
                with explain(uri):
                    return ask(*arguments)

            return lambda *arguments: self.patiently(uri, lambda: once(*arguments))

        file = patient(filesystem.open)(path, "rb")
        if cache := getattr(file, "cache", None):
            cache.fetcher = patient(cache.fetcher)
        return file

    def check_unchanged(self, planned: StoredFile) -> None:
        """Raises SourceChangedError where the object is no longer the one that was planned."""
        now = self.stat(planned.uri)
        if not planned.is_now(now):
            state = "is gone" if now is None else "was replaced"
            if not planned.version:
                raise SourceChangedError(
                    f"{planned.uri} {state}, and the version of the table that this run reads names it "
                    f"({planned.size:,} bytes): old versions may have been vacuumed or expired meanwhile; run again: "
                    "finished units are kept"
                )
            raise SourceChangedError(
                f"{planned.uri} {state} after this run was planned (planned version {planned.version}, "
                f"now {now.version if now else 'none'}); run again: finished units are kept"
            )

    def read_start(self, planned: StoredFile, size: int) -> bytes:
        """Reads the first `size` bytes, or all. Raises SourceChangedError where it is no longer the version planned."""
        return self._read_range(planned, 0, min(size, planned.size))

    def read_end(self, planned: StoredFile, size: int) -> bytes:
        """Reads the last `size` bytes, or all. Raises SourceChangedError where it is no longer the version planned."""
        return self._read_range(planned, max(0, planned.size - size), planned.size)

    def _read_range(self, planned: StoredFile, start: int, stop: int) -> bytes:
        if start == stop:  # a range of nothing is refused
            return b""
        try:
            return self.read_range(planned.uri, start, stop)
        finally:
            self.check_unchanged(planned)

    def put_if_absent(self, uri: str, data: bytes) -> bool:
        """Writes the object unless there is one. True if the object now holds these bytes, False if it holds others."""
        return self.put_or_read(uri, data) == data

    @_patient
    def put_or_read(self, uri: str, data: bytes) -> bytes:
        """Writes the object unless there is one. Returns what it holds now: these bytes, or somebody else's."""
        filesystem, path = self._at(uri)
        if len(data) >= MAX_SINGLE_PUT:
            raise ConfigError(f"{uri}: {len(data):,} bytes; a conditional PUT takes at most 5 GiB: raise table.buckets")
        with explain(uri):
            for attempt in range(CREATIONS):
                try:
                    _create(filesystem, path, data)
                except PermissionError:
                    raise
                except raised_by_stores():
                    with contextlib.suppress(FileNotFoundError):
                        return cast(bytes, filesystem.cat_file(path))
                    if attempt == CREATIONS - 1:
                        raise
                    continue  # refused, and nothing there: what was there may have been deleted since
                return data
        raise AssertionError("the last attempt returns or raises")

    @_patient
    def put(self, uri: str, data: bytes) -> None:
        """Writes the object, whatever was there."""
        filesystem, path = self._at(uri)
        with explain(uri):
            if is_local(filesystem):
                replace_local(path, data)
            else:
                filesystem.pipe_file(path, data)

    @contextlib.contextmanager
    def writing(self, uri: str) -> Iterator[BinaryIO]:
        """Gives a file to write an object of any size, which appears when the block ends, in the place of another.

        A block that raises leaves what was there. Memory holds some 50 MB of it at most. Nothing is tried again but
        what the store's client tries: what was sent can't be sent twice.
        """
        filesystem, path = self._at(uri)

        def size_now() -> int | None:
            stored = self.stat(uri)
            return stored.size if stored else None

        with explain(uri):
            is_here = is_local(filesystem)
            with whole_local_file(path) if is_here else whole_remote_file(filesystem, path, size_now) as file:
                yield file

    @_patient
    def delete(self, uri: str) -> None:
        """Removes the object. Raises FileNotFoundError where a store tells that there was none."""
        filesystem, path = self._at(uri)
        with explain(uri):
            filesystem.rm_file(path)

    @_patient
    def copy(self, source: str, target: str) -> None:
        """Copies an object that never changes inside one store, without moving its bytes through this machine."""
        filesystem, source_path = self._at(source)
        _, target_path = self._at(target)
        with explain(target):
            if not is_local(filesystem):
                filesystem.cp_file(source_path, target_path)
                return
            Path(target_path).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.link(source_path, target_path)

    def read_all(self, uris: list[str]) -> list[bytes]:
        """Reads many small objects, several at a time, in the order asked for."""
        with ThreadPoolExecutor(TRANSFERS) as pool:
            return list(pool.map(self.read, uris))

    def pinned_checkpoint(self, uri: str) -> PinnedCheckpoint:
        """Resolves what may mean another checkpoint later: an alias of a model registry. Others are as they are.

        Raises as `pinned_version` of registered_models.py.
        """
        if not uri.startswith(REGISTRY):
            return PinnedCheckpoint(uri, uri)
        version = pinned_version(uri)
        return PinnedCheckpoint(version, artifact_folder(version))

    def fetch_folder(self, uri: str) -> Path:
        """Gives a checkpoint's folder on this machine's disk: a local one itself, else a copy, one for each version.

        Raises CheckpointError where there is none.
        """
        if uri.startswith(REGISTRY):
            name, folder = self.pinned_checkpoint(uri)
            if folder == name:
                folder = str(made_once(copy_name(name), lambda target: download_version(name, target)))
            return self.fetch_folder(folder)
        if "://" not in uri and not Path(uri).is_dir():
            return fetch_from_hub(uri)
        filesystem, path = self._at(uri)
        if is_local(filesystem) and not is_mlflow_model(lambda name: Path(path, name).is_file()):
            return Path(path).resolve()
        files = self.find(uri)
        if not files:
            raise CheckpointError(f"checkpoint.uri {uri}: no such folder, or it is empty")
        return copied(self.canonical(uri), files, self.open)

    def _at(self, uri: str) -> tuple[Any, str]:
        scheme = _scheme(uri)
        if ONE_SLASH.match(uri):  # or a table is written to a folder called `s3:`
            raise ConfigError(f"{uri}: expected two slashes behind the scheme, as in s3://bucket/folder")
        is_s3 = scheme in ("s3", "s3a")
        options = {"use_listings_cache": False} | (_s3_options(self.settings) if is_s3 else {})
        try:
            with explain(uri):  # and not url_to_fs, to which `::` in an object's name is a chain of other stores
                kind = _s3_class() if is_s3 else _hub_class() if scheme == HUB else fsspec.get_filesystem_class(scheme)
                filesystem = kind(**kind._get_kwargs_from_urls(uri) | options)
                path = kind._strip_protocol(uri)
        except (ValueError, ImportError) as error:
            near = did_you_mean(scheme, fsspec.available_protocols())
            raise ConfigError(f"{uri}: no storage for the scheme {scheme!r} on this machine: {error}{near}") from error
        if "\0" in path or (is_s3 and not path.partition("/")[0]):
            raise ConfigError(f"{uri!r}: names no file or folder")
        if is_local(filesystem):
            # Path.resolve would follow links, which name versions of a corpus
            path = os.path.abspath(path)  # noqa: PTH100
        return filesystem, str(path)


def _scheme(uri: str) -> str:
    return uri.partition("://")[0] if "://" in uri else "file"


def _hub_class() -> Any:
    from pipeline.storage import hub_files

    return hub_files.HubFileSystem


def _s3_class() -> Any:
    from pipeline.storage import s3  # a third of a second, for those who need it

    return s3.S3


def _s3_options(settings: StorageSettings) -> dict[str, Any]:
    from pipeline.storage import s3

    return s3.options(settings)


def _listed(filesystem: Any, path: str) -> tuple[Iterable[StoredFile], list[str]]:
    return list_local(path) if is_local(filesystem) else (list_remote(filesystem, path), [])


def _create(filesystem: Any, path: str, data: bytes) -> None:
    if is_local(filesystem):
        create_local(path, data)
    else:
        create_remote(filesystem, path, data)
