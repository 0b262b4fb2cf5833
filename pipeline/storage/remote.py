"""Objects of a store that is not this machine's disk, by fsspec."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pipeline.storage.listings import StoredFile
from pipeline.storage.store_errors import no_bucket

MAX_SINGLE_PUT = 5 * 2**30  # bytes that S3 takes in one request


def list_remote(filesystem: Any, path: str) -> Iterator[StoredFile]:
    """Lists the object, or everything below the folder; nothing if there is neither. Raises NoBucketError.

    Of S3 a page is held at a time: what fsspec's `find` makes of a million objects takes more than 1 GB.
    """
    find = getattr(filesystem, "find_paged", None)
    try:
        infos = find(path) if find else filesystem.find(path, detail=True).values()
        for info in infos:
            if is_file(info):
                yield remote_file(filesystem, info["name"], info)
    except FileNotFoundError as error:
        raise no_bucket(filesystem.unstrip_protocol(path.partition("/")[0])) from error


def stat_remote(filesystem: Any, path: str) -> StoredFile:
    """Looks at one object. Raises FileNotFoundError."""
    return remote_file(filesystem, path, filesystem.info(path))


def create_remote(filesystem: Any, path: str, data: bytes) -> None:
    """Writes an object, whole, on the condition that there is none. Raises what the store makes of it if there is."""
    if "s3" in filesystem.protocol:
        # one PUT whatever the size: a multipart upload ignores the condition on some stores
        filesystem.pipe_file(path, data, mode="create", chunksize=MAX_SINGLE_PUT)
    else:
        filesystem.pipe_file(path, data, mode="create")


def is_file(info: dict[str, Any]) -> bool:
    """Tells whether an entry of a listing is an object that somebody wrote."""
    # a zero-byte key that ends in a slash is a folder that some console made
    return info["type"] == "file" and not str(info["name"]).endswith("/")


def remote_file(filesystem: Any, path: str, info: dict[str, Any]) -> StoredFile:
    """Reads an entry of a listing."""
    size = int(info["size"] or 0)
    etag = info.get("ETag") or info.get("etag") or info.get("version") or info.get("generation")
    moment = info.get("LastModified") or info.get("created") or info.get("mtime") or ""
    moment = moment.timestamp() if isinstance(moment, datetime) else moment
    version = str(etag).strip('"') if etag else f"{size}-{moment}"
    modified = moment if isinstance(moment, float) else 0.0
    return StoredFile(str(filesystem.unstrip_protocol(path)), size, version, modified)
