"""Data sets of a model hub as a store: `hf://datasets/owner/name@revision/path`, through huggingface_hub's filesystem.

That filesystem keeps what it has once listed, and of a file seen anew it tells no version. Here each question is asked
of the hub, and a file's version is its blob's id, which is one at every commit that has the file as it is. Waiting for
a hub that is away is retries.py's.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from huggingface_hub import HfFileSystem, hf_hub_url
from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder
from huggingface_hub.hf_file_system import HfFileSystemFile
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from pipeline.errors import AccessError, ConfigError, CorpusError, StorageError, UnavailableError

EXPECTED_URI = "expected hf://datasets/owner/name, or with @revision and /path"
TOKEN = "log in with `hf auth login` or set HF_TOKEN"  # what to do, and no secret
PASSING_STATUSES = (408, 429)  # and all from 500 on


class HubFileSystem(HfFileSystem):  # type: ignore[misc]  # huggingface_hub has no types for mypy's sake here
    """An HfFileSystem that keeps nothing, for reading. Raises what `_explained` makes of the hub's errors."""

    def commit(self, path: str) -> str:
        """The commit that the path's revision is now, as 40 hex digits."""
        with _explained(path):
            place = self._place(path)
            return str(self._api.repo_info(place.repo_id, revision=place.revision, repo_type=place.repo_type).sha)

    def find(self, path: str, *_: Any, **__: Any) -> dict[str, dict[str, Any]]:
        """The files at or below a path, by path; empty if there are none."""
        with _explained(path):
            place = self._place(path)
            where = {"revision": place.revision, "repo_type": place.repo_type}
            try:
                tree = self._api.list_repo_tree(place.repo_id, place.path_in_repo or None, recursive=True, **where)
                below = [entry for entry in tree if isinstance(entry, RepoFile)]
            except EntryNotFoundError:  # or a file, or nothing
                below = self._api.get_paths_info(place.repo_id, place.path_in_repo, **where)
            infos = [_info(place.root, entry) for entry in below]
            return {info["name"]: info for info in infos if info["type"] == "file"}

    def info(self, path: str, *_: Any, **__: Any) -> dict[str, Any]:
        """What is at a path now. Raises FileNotFoundError."""
        with _explained(path):
            place = self._place(path)
            if not place.path_in_repo:
                return {"name": place.root, "size": 0, "type": "directory"}
            entries = self._api.get_paths_info(
                place.repo_id, place.path_in_repo, revision=place.revision, repo_type=place.repo_type
            )
            if not entries:
                raise FileNotFoundError(path)
            return _info(place.root, entries[0])

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Bytes [start, end) of a file, or all of it."""
        with _explained(path):
            place = self._place(path)
            url = hf_hub_url(
                place.repo_id,
                place.path_in_repo,
                repo_type=place.repo_type,
                revision=place.revision,
                endpoint=self.endpoint,
            )
            asked = {} if start is None or end is None else {"range": f"bytes={start}-{end - 1}"}
            headers = build_hf_headers(token=self.token) | asked
            reply = get_session().get(url, headers=headers, timeout=HF_HUB_DOWNLOAD_TIMEOUT)
            hf_raise_for_status(reply)
            data: bytes = reply.content
            if asked and reply.status_code != 206:  # not every mirror knows ranges
                data = data[start:end]
            return data

    def _place(self, path: str) -> Any:
        place = self.resolve_path(path)
        if not hasattr(place, "repo_id"):
            raise ConfigError(f"hf://{path}: is no data set; {EXPECTED_URI}")
        return place

    def _open(self, path: str, mode: str = "rb", **options: Any) -> "_HubFile":
        with _explained(path):
            return _HubFile(self, path, mode=mode, **options)


class _HubFile(HfFileSystemFile):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> bytes:
        data = self.fs.cat_file(self.path, start, end)
        assert isinstance(data, bytes)
        return data


def _info(root: str, entry: RepoFile | RepoFolder) -> dict[str, Any]:
    name = f"{root}/{entry.path}"
    if isinstance(entry, RepoFile):
        return {"name": name, "size": entry.size, "type": "file", "ETag": entry.blob_id}
    return {"name": name, "size": 0, "type": "directory"}


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turns what huggingface_hub raises into errors of ours; FileNotFoundError for a path that isn't there.

    Raises:
        AccessError: it is gated, or the token isn't allowed to read it.
        ConfigError: the name can be no data set's, or the hub's client is told to be offline.
        CorpusError: there is no such data set or revision.
        UnavailableError: the same request may be answered later.
        StorageError: it will not be.
    """
    uri = f"hf://{path}"
    try:
        try:
            yield
        except FileNotFoundError as error:  # in which the filesystem hides what the hub says of a whole data set
            raise error.__cause__ or error from error
    except GatedRepoError as error:
        raise AccessError(f"{uri}: this data set is gated; ask for access on its page, and {TOKEN}") from error
    except RevisionNotFoundError as error:
        raise CorpusError(f"{uri}: this data set has no such revision; name a branch, a tag or a commit") from error
    except RepositoryNotFoundError as error:
        raise CorpusError(
            f"{uri}: the hub has no such data set, or a private one; check the name, or {TOKEN}"
        ) from error
    except OfflineModeIsEnabled as error:
        raise ConfigError(f"{uri}: HF_HUB_OFFLINE is set; unset it to read from the hub") from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(path) from error
    except HfHubHTTPError as error:
        raise _refusal(uri, error) from error
    except HTTPError as error:
        raise UnavailableError(
            f"{uri}: the hub can't be reached ({error}); check the network and HF_ENDPOINT, and run again"
        ) from error
    except (HFValidationError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"{uri}: names no data set ({error}); {EXPECTED_URI}") from error


def _refusal(uri: str, error: Any) -> AccessError | StorageError:
    status = error.response.status_code
    if status in (401, 403):
        return AccessError(f"{uri}: the hub refuses ({status}); {TOKEN}, with a token that may read it")
    kind = UnavailableError if status in PASSING_STATUSES or status >= 500 else StorageError
    return kind(f"{uri}: the hub failed ({status} {error.response.reason_phrase}); run again: finished units are kept")
