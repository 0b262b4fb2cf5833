"""Objects by URI, on local disk or any store that fsspec knows.

The only module that imports fsspec. Two rules of the stores that the table's promises rest on:

* An object appears whole or not at all. Object stores give this; on local disk a file is written under a hidden name and
  linked into place.
* `put_if_absent` decides by looking. A refused or failed PUT may be our own whose reply was lost, so the object is read
  back: the same bytes are success, other bytes are somebody else's.

What a store fails to do for now is tried again for `storage.retry`, in whatever is asked of it; a disk of this machine is not
waited for.

A listing that can't be had whole is an error: fsspec's own `glob` and local `find` leave out a folder that they can't list.
"""

import contextlib
import errno
import functools
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar, cast

import fsspec
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError as BotoConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError
from fsspec.implementations.local import LocalFileSystem

from pipeline.config import StorageSettings
from pipeline.errors import (
    AccessError,
    CheckpointError,
    ConfigError,
    NoBucketError,
    SourceChangedError,
    StorageError,
    UnavailableError,
)
from pipeline.identity import digest
from pipeline.outages import patiently

P = ParamSpec("P")
T = TypeVar("T")
Asked = Callable[Concatenate["Storage", str, P], T]
PASSING = (408, 409, 429, 500)  # and all above 501, which says that the store knows no such request
BROKEN_OFF = ("RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch")
MAX_SINGLE_PUT = 5 * 2**30
CREATIONS = 5  # of an object that others create and delete at the same time
TRANSFERS = 16  # objects copied or fetched at a time; each waits on the network, not on a core
WRITE_CHECK = ".rookery-write-check"
NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
MAY_PASS = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY, errno.EAGAIN, errno.EINTR,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One object as a listing saw it. `version`: its ETag, or size and modification time where there is none."""

    uri: str
    size: int
    version: str
    modified: float = field(default=0.0, compare=False, repr=False)  # in seconds, by the store's clock


def _patient(ask: Asked[P, T]) -> Asked[P, T]:
    """A method that asks a store, and may be asked again: whatever it did comes to the same if done twice."""

    @functools.wraps(ask)
    def wrapper(self: "Storage", uri: str, /, *arguments: P.args, **named: P.kwargs) -> T:
        return self.patiently(uri, lambda: ask(self, uri, *arguments, **named))

    return wrapper


@dataclass(frozen=True, slots=True)
class Listing:
    """What a URI means, and all that had to be listed to tell; files are sorted by URI."""

    root: str  # the file or folder that the URI names, or the folder above its first wildcard
    is_pattern: bool
    files: list[StoredFile]  # that the URI means
    below: list[StoredFile]  # every one at or below the root
    odd: list[str]  # what a walk of a local folder passes by: links to folders or to nothing, pipes, sockets

    @property
    def is_folder(self) -> bool:
        return not self.is_pattern and [file.uri for file in self.files] != [self.root]


@dataclass(frozen=True, slots=True)
class Storage:
    """Every store this job can reach. Small and picklable: credentials stay in each machine's environment."""

    settings: StorageSettings = field(default_factory=StorageSettings)

    def patiently(self, uri: str, ask: Callable[[], T]) -> T:
        """What `ask` gives, which asks the store of `uri` something: again for `storage.retry`, where that may help."""
        return patiently(ask, _scheme(uri), self.settings.retry)

    def canonical(self, uri: str) -> str:
        """The one spelling of a URI that rows and manifests carry: absolute, with its scheme."""
        filesystem, path = self._at(uri)
        return str(filesystem.unstrip_protocol(path))

    def filesystem(self, uri: str) -> tuple[Any, str]:
        """Gives the fsspec filesystem of a URI and the path there, for libraries that read by themselves."""
        return self._at(uri)

    def find(self, uri: str) -> list[StoredFile]:
        """Files that a URI means: a file, everything in a folder, or a glob. Sorted; empty if there are none.

        Raises NoBucketError for a bucket that does not exist.
        """
        return self.look(uri).files

    @_patient
    def look(self, uri: str) -> Listing:
        """What a URI means and what lies beside it. Raises NoBucketError, or ConfigError for a pattern that is none."""
        filesystem, path = self._at(uri)
        with _explained(uri):
            below, odd = _list(filesystem, path)
            if below or odd or not fsspec.core.has_magic(path):
                files = _sorted(below)
                return Listing(str(filesystem.unstrip_protocol(path)), False, files, files, odd)
            is_match = _matcher(uri, path)
            root = above_wildcards(path)
            below, odd = _list(filesystem, root or "/")
            files = _sorted({name: file for name, file in below.items() if is_match(name)})
            odd = [name for name in odd if is_match(name) or _can_match_below(path, name)]
            return Listing(str(filesystem.unstrip_protocol(root)), True, files, _sorted(below), odd)

    @_patient
    def is_folder(self, uri: str) -> bool:
        """Whether something lies below a URI; False too where it may not be listed."""
        filesystem, path = self._at(uri)
        with contextlib.suppress(AccessError), _explained(uri):
            return bool(filesystem.isdir(path))
        return False

    def can_lie_in(self, uri: str, folder: str) -> bool:
        """Whether a file that a URI means, now or later, can lie in a folder, be that there or not; links are followed."""
        filesystem, path = self._at(uri)
        other, folder_path = self._at(folder)
        if filesystem.protocol != other.protocol:
            return False
        literal, pattern, root = path, path, above_wildcards(path)
        if _is_local(filesystem):
            literal, folder_path = os.path.realpath(path), os.path.realpath(folder_path)
            pattern = os.path.realpath(root or "/").rstrip("/") + path.removeprefix(root)
        literal, folder_path = literal.rstrip("/"), folder_path.rstrip("/")
        if fsspec.core.has_magic(path) and _can_match_below(pattern, folder_path):
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
        with _writing(what):
            if _is_local(filesystem):
                there = _nearest_above(Path(path))
                with contextlib.suppress(FileExistsError):  # of a run that looks at the same time
                    _create(filesystem, str(there / WRITE_CHECK), b"")
                (there / WRITE_CHECK).unlink(missing_ok=True)
                return
            self.put_if_absent(uri, b"")
            with contextlib.suppress(AccessError, FileNotFoundError):  # whoever may only write can label
                self.delete(uri)

    @_patient
    def folders_in(self, folder: str) -> list[str]:
        """URIs of the folders right below a folder."""
        filesystem, path = self._at(folder)
        with _explained(folder), contextlib.suppress(FileNotFoundError):
            below = filesystem.ls(path, detail=True)
            names = [info["name"].rstrip("/") for info in below if info["type"] == "directory"]
            return [str(filesystem.unstrip_protocol(name)) for name in names]
        return []

    @_patient
    def stat(self, uri: str) -> StoredFile | None:
        """The object as it is now, or None."""
        filesystem, path = self._at(uri)
        with _explained(uri), contextlib.suppress(FileNotFoundError):
            if _is_local(filesystem):
                return _local_file(path, Path(path).stat())
            return _remote_file(filesystem, path, filesystem.info(path))
        return None

    @_patient
    def read(self, uri: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""
        filesystem, path = self._at(uri)
        with _explained(uri):
            return cast(bytes, filesystem.cat_file(path))

    @contextlib.contextmanager
    def open(self, planned: StoredFile) -> Iterator[BinaryIO]:
        """Opens the version that was planned. Raises SourceChangedError where the object is no longer that one."""
        filesystem, path = self._at(planned.uri)
        self.check_unchanged(planned)
        try:
            with _explained(planned.uri), self._opened(filesystem, path, planned.uri) as file:
                yield file
        finally:  # it may have changed in between, which can look like damage to the reader
            self.check_unchanged(planned)

    def _opened(self, filesystem: Any, path: str, uri: str) -> Any:
        """A file whose every request is patient: once it is open a store is asked for bytes as they are read, by its cache."""

        def patient(ask: Callable[..., T]) -> Callable[..., T]:
            def once(*arguments: Any) -> T:
                with _explained(uri):
                    return ask(*arguments)

            return lambda *arguments: self.patiently(uri, lambda: once(*arguments))

        file = patient(filesystem.open)(path, "rb")
        if cache := getattr(file, "cache", None):
            cache.fetcher = patient(cache.fetcher)
        return file

    def check_unchanged(self, planned: StoredFile) -> None:
        """Raises SourceChangedError where the object is no longer the one that was planned."""
        now = self.stat(planned.uri)
        if now != planned:
            state = "is gone" if now is None else "was replaced"
            raise SourceChangedError(
                f"{planned.uri} {state} after this run was planned (planned version {planned.version}, "
                f"now {now.version if now else 'none'}); run again: finished units are kept"
            )

    def read_start(self, planned: StoredFile, size: int) -> bytes:
        """The first `size` bytes of the version that was planned, or all. Raises SourceChangedError where it is no longer that one."""
        return self._read_range(planned, 0, min(size, planned.size))

    def read_end(self, planned: StoredFile, size: int) -> bytes:
        """The last `size` bytes of the version that was planned, or all. Raises SourceChangedError where it is no longer that one."""
        return self._read_range(planned, max(0, planned.size - size), planned.size)

    def _read_range(self, planned: StoredFile, start: int, stop: int) -> bytes:
        filesystem, path = self._at(planned.uri)
        if start == stop:  # a range of nothing is refused
            return b""

        def ask() -> bytes:
            with _explained(planned.uri):
                return cast(bytes, filesystem.cat_file(path, start=start, end=stop))

        try:
            return self.patiently(planned.uri, ask)
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
        with _explained(uri):
            for attempt in range(CREATIONS):
                try:
                    _create(filesystem, path, data)
                except PermissionError:
                    raise
                except _store_errors():
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
        with _explained(uri):
            if _is_local(filesystem):
                with _written_beside(Path(path), data) as written:
                    written.replace(path)
            else:
                filesystem.pipe_file(path, data)

    @_patient
    def delete(self, uri: str) -> None:
        """Removes the object. Raises FileNotFoundError where a store tells that there was none."""
        filesystem, path = self._at(uri)
        with _explained(uri):
            filesystem.rm_file(path)

    @_patient
    def copy(self, source: str, target: str) -> None:
        """Copies an object that never changes inside one store, without moving its bytes through this machine."""
        filesystem, source_path = self._at(source)
        _, target_path = self._at(target)
        with _explained(target):
            if not _is_local(filesystem):
                filesystem.cp_file(source_path, target_path)
                return
            Path(target_path).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.link(source_path, target_path)

    def read_all(self, uris: list[str]) -> list[bytes]:
        """Reads many small objects, several at a time, in the order asked for."""
        with ThreadPoolExecutor(TRANSFERS) as pool:
            return list(pool.map(self.read, uris))

    def fetch_folder(self, uri: str) -> Path:
        """A checkpoint's folder on this machine's disk: a local folder itself, else a copy, made once per machine and version."""
        if "://" not in uri and Path(uri).is_dir():
            return Path(uri).resolve()
        if "://" not in uri:
            return _from_hub(uri)
        filesystem, path = self._at(uri)
        if _is_local(filesystem):
            return Path(path)
        files = self.find(uri)
        if not files:
            raise CheckpointError(f"checkpoint.uri {uri}: no such folder, or it is empty")
        return self._cached_copy(self.canonical(uri), files)

    def _cached_copy(self, root: str, files: list[StoredFile]) -> Path:
        name = digest("checkpoint/1", [(file.uri, file.size, file.version) for file in files])[:32]
        target = checkpoint_cache() / name
        if target.is_dir():
            return target
        with _writing(f"the cache of checkpoints in {tempfile.gettempdir()} (TMPDIR)"):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=target.parent))
        for file in files:
            local = partial / _inner_name(file, root)
            local.parent.mkdir(parents=True, exist_ok=True)
            with self.open(file) as remote, local.open("wb") as copy:
                shutil.copyfileobj(remote, copy, 2**24)
        try:
            partial.rename(target)
        except OSError:  # another process of this machine was first
            shutil.rmtree(partial)
        return target

    def _at(self, uri: str) -> tuple[Any, str]:
        scheme = _scheme(uri)
        is_s3 = scheme in ("s3", "s3a")
        options = {"use_listings_cache": False} | (self._s3_options() if is_s3 else {})
        try:
            with _explained(uri):  # and not url_to_fs, to which `::` in an object's name is a chain of other stores
                kind = _s3_class() if is_s3 else fsspec.get_filesystem_class(scheme)
                filesystem = kind(**kind._get_kwargs_from_urls(uri) | options)
                path = kind._strip_protocol(uri)
        except (ValueError, ImportError) as error:
            raise ConfigError(f"{uri}: no storage for the scheme {scheme!r} on this machine: {error}") from error
        if "\0" in path or (is_s3 and not path.partition("/")[0]):
            raise ConfigError(f"{uri!r}: names no file or folder")
        if _is_local(filesystem):
            path = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links, which name versions of a corpus
        return filesystem, str(path)

    def _s3_options(self) -> dict[str, Any]:
        from pipeline import s3

        settings = self.settings
        client = {"region_name": settings.region} if settings.region else {}
        return {
            "endpoint_url": settings.endpoint_url,
            "profile": settings.profile,
            "anon": settings.anonymous,
            "client_kwargs": client,
            "config_kwargs": s3.CONFIG,
            "max_concurrency": 1,  # or each small object's size is asked for before it is read
        }


def checkpoint_cache() -> Path:
    """Where this machine keeps copies of the checkpoints that lie elsewhere."""
    return Path(tempfile.gettempdir()) / f"rookery-{os.getuid()}" / "checkpoints"


def _scheme(uri: str) -> str:
    return uri.partition("://")[0] if "://" in uri else "file"


def _s3_class() -> Any:
    from pipeline import s3  # a third of a second, for those who need it

    return s3.S3


def _store_errors() -> tuple[type[Exception], ...]:
    """What a store raises; aiohttp has errors of its own, for a reply that breaks off, and is imported with s3fs."""
    aiohttp = sys.modules.get("aiohttp")
    own = (aiohttp.ClientError,) if aiohttp else ()
    return (OSError, BotoCoreError, ResponseParserError, *own)


def _inner_name(file: StoredFile, root: str) -> str:
    """The file's name below `root`; `..` in it means nothing in a store, but leads out of a copy on disk."""
    name = file.uri.removeprefix(root).lstrip("/")
    if ".." in name.split("/"):
        raise CheckpointError(f"{file.uri}: the name leads out of its folder; remove the object")
    return name


def _nearest_above(path: Path) -> Path:
    """Of the folders above a path the nearest that is there; OSError where there can be none."""
    for folder in path.parents:
        with contextlib.suppress(FileNotFoundError):
            folder.lstat()
            return folder
    raise AssertionError("the root is there")


def _sorted(files: dict[str, StoredFile]) -> list[StoredFile]:
    return sorted(files.values(), key=lambda file: file.uri)


def _list(filesystem: Any, path: str) -> tuple[dict[str, StoredFile], list[str]]:
    """The file, or everything below the folder, by path; empty if there is neither. And what is neither file nor folder."""
    if _is_local(filesystem):
        return _list_local(path)
    try:
        infos = filesystem.find(path, detail=True)
    except FileNotFoundError as error:
        bucket = filesystem.unstrip_protocol(path.partition("/")[0])
        raise NoBucketError(_no_bucket(bucket)) from error
    return {path: _remote_file(filesystem, path, info) for path, info in infos.items() if _is_file(info)}, []


def _list_local(path: str) -> tuple[dict[str, StoredFile], list[str]]:
    def unless_gone(error: OSError) -> None:
        if error.errno not in NO_SUCH_FILE:
            raise error

    names: list[str] = []
    odd: list[str] = []
    for folder, folders, inside in os.walk(path, onerror=unless_gone):
        names += [os.path.join(folder, name) for name in inside]  # noqa: PTH118 - Path costs more than stat
        odd += [link for name in folders if os.path.islink(link := os.path.join(folder, name))]  # noqa: PTH114, PTH118
    found = {}
    for name in names or [path]:
        try:
            status = Path(name).stat()
        except OSError as error:  # another run's hidden file, linked by now, or a link to nothing
            if error.errno not in NO_SUCH_FILE:
                raise
            if os.path.islink(name):  # noqa: PTH114 - Path's own raises where a name is too long
                odd.append(name)
            continue
        if stat.S_ISREG(status.st_mode):
            found[name] = _local_file(name, status)
        elif not stat.S_ISDIR(status.st_mode):
            odd.append(name)
    return found, sorted(odd)


def above_wildcards(path: str) -> str:
    """The folder above a path's first wildcard; without one the path itself."""
    fixed, *wild = re.split(r"[*?[]", path, maxsplit=1)
    return fixed.rpartition("/")[0] if wild else path


def _matcher(uri: str, pattern: str) -> Callable[[str], re.Match[str] | None]:
    try:
        return re.compile(fsspec.utils.glob_translate(pattern)).match
    except ValueError as error:
        raise ConfigError(
            f"{uri}: `**` stands for folders, between two slashes; write **/*.parquet for **.parquet"
        ) from error


def _can_match_below(pattern: str, folder: str) -> bool:
    """Whether a pattern can match a path below a folder."""
    segments, names = pattern.split("/"), folder.split("/")
    for segment, name in zip(segments, names, strict=False):
        if segment == "**":
            return True
        if not re.match(fsspec.utils.glob_translate(segment), name):
            return False
    return len(segments) > len(names)


def _is_file(info: dict[str, Any]) -> bool:
    # a zero-byte key that ends in a slash is a folder that some console made
    return info["type"] == "file" and not str(info["name"]).endswith("/")


def _local_file(path: str, status: os.stat_result) -> StoredFile:
    # nanoseconds tell two quick rewrites apart
    version = f"{status.st_size}-{status.st_mtime_ns}"
    return StoredFile(f"file://{path}", status.st_size, version, status.st_mtime)


def _remote_file(filesystem: Any, path: str, info: dict[str, Any]) -> StoredFile:
    size = int(info["size"] or 0)
    etag = info.get("ETag") or info.get("etag") or info.get("version") or info.get("generation")
    moment = info.get("LastModified") or info.get("created") or info.get("mtime") or ""
    moment = moment.timestamp() if isinstance(moment, datetime) else moment
    version = str(etag).strip('"') if etag else f"{size}-{moment}"
    modified = moment if isinstance(moment, float) else 0.0
    return StoredFile(str(filesystem.unstrip_protocol(path)), size, version, modified)


def _is_local(filesystem: Any) -> bool:
    return isinstance(filesystem, LocalFileSystem)


def _create(filesystem: Any, path: str, data: bytes) -> None:
    if _is_local(filesystem):
        with _written_beside(Path(path), data) as written:
            os.link(written, path)
    elif "s3" in filesystem.protocol:
        # one PUT whatever the size: a multipart upload ignores the condition on some stores
        filesystem.pipe_file(path, data, mode="create", chunksize=MAX_SINGLE_PUT)
    else:
        filesystem.pipe_file(path, data, mode="create")


@contextlib.contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".rookery-", dir=path.parent)
    written = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        written.chmod(0o666 & ~_umask())
        yield written
    finally:
        written.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _from_hub(name: str) -> Path:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"checkpoint.uri {name}: no such folder; give a folder, a URI or a hub's owner/name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.bin", "spiece.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"checkpoint.uri {name}: no such folder here, and the model hub did not give it: {error}"
        ) from error


@contextlib.contextmanager
def _writing(what: str) -> Iterator[None]:
    try:
        yield
    except NoBucketError as error:
        raise ConfigError(f"{what}: can't be written ({error})") from error
    except OSError as error:
        if error.errno in MAY_PASS:
            raise StorageError(f"{what}: can't be written now ({error}); run again") from error
        raise ConfigError(f"{what}: can't be written ({error}); name one that can, or make it so") from error


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise AccessError(
            f"{uri}: {error}; set the AWS variables, a profile (storage.profile) or storage.anonymous"
        ) from error
    except ParamValidationError as error:
        raise ConfigError(f"{uri}: not a name that the store can have: {error}") from error
    except PermissionError as error:
        raise AccessError(
            f"{uri}: access denied ({_told(error)}); check the credentials and the permissions"
        ) from error
    except FileNotFoundError as error:
        if _reply(error).get("Code") == "NoSuchBucket":
            bucket = "/".join(uri.split("/")[:3])
            raise NoBucketError(_no_bucket(bucket)) from error
        raise
    except _store_errors() as error:
        kind = UnavailableError if _scheme(uri) != "file" and _may_pass(error) else StorageError
        raise kind(f"{uri}: the store failed ({_told(error)}); run again: finished units are kept") from error


def _may_pass(error: Exception) -> bool:
    """Whether the same request may be answered later. What a store says of the request itself it will say again."""
    refusal = _refusal(error)
    if refusal is None:
        away = (HTTPClientError, BotoConnectionError)
        return isinstance(error, away) or not isinstance(error, BotoCoreError)
    status = refusal.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status in PASSING or status > 501 or _reply(error).get("Code") in BROKEN_OFF


def _told(error: Exception) -> str:
    """The store's code and message. Ceph sends codes alone, and s3fs keeps messages alone."""
    reply = _reply(error)
    return ": ".join(filter(None, (reply.get("Code"), reply.get("Message")))) or str(error)


def _reply(error: Exception) -> dict[str, Any]:
    refusal = _refusal(error)
    return refusal.response["Error"] if refusal else {}


def _refusal(error: BaseException | None) -> ClientError | None:
    """What the store replied, from under what s3fs made of it."""
    while error is not None and not isinstance(error, ClientError):
        error = error.__cause__
    return error


def _no_bucket(bucket: str) -> str:
    return f"{bucket}: no such bucket; check the name and the endpoint"
