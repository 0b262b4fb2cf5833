"""S3 by s3fs, with an end to every request.

Left to itself a store that is silent is waited for without end: aiohttp's clock does not run while a request's body
is on its way, nor while the store is asked whether it wants the body. And what has an end is tried again by botocore,
by s3fs around it, and by s3fs once more where it reads a file: by their defaults a reply that never comes costs half
an hour. Here each of them tries twice, which gets one page of a long listing past a hiccup; waiting for a store is
retries.py's.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import s3fs
from fsspec.asyn import sync

from pipeline.config.label import StorageSettings

PATIENCE_SECONDS = 60.0  # for a request with all its attempts
SLOWEST_BYTES_PER_SECOND = 1_000_000  # at which a body may be on its way beside that
CONFIG = {
    "connect_timeout": 5,
    "read_timeout": 15,  # seconds without a byte of the reply
    "retries": {"mode": "standard", "total_max_attempts": 2},
}


class S3(s3fs.S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """An S3FileSystem that gives up: ConnectionError, as fsspec replaces a TimeoutError by one that says nothing."""

    retries = 2  # of botocore's attempts, because only s3fs tries again where a reply breaks off in its body

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        patience = PATIENCE_SECONDS + len(kwargs.get("Body", b"")) / SLOWEST_BYTES_PER_SECOND
        call = super()._call_s3(method, *akwarglist, **kwargs)
        try:
            return await asyncio.wait_for(call, patience)
        except TimeoutError as error:
            raise ConnectionError(f"no answer within {patience:g} s") from error

    def find_paged(self, path: str) -> Iterator[dict[str, Any]]:
        """Yields what `find` gives of the object, or of everything below the folder; holds a page of it at a time."""
        bucket, key, _ = self.split_path(path)
        page = {"Bucket": bucket, "Prefix": key and f"{key.lstrip('/')}/", **self.req_kw}
        is_empty = True
        while True:
            listed = sync(self.loop, self._call_s3, "list_objects_v2", **page)
            for info in listed.get("Contents", ()):
                is_empty = False
                yield info | {"name": f"{bucket}/{info['Key']}", "size": info["Size"], "type": "file"}
            if not listed.get("IsTruncated"):
                break
            page["ContinuationToken"] = listed["NextContinuationToken"]
        if is_empty and key:
            with contextlib.suppress(FileNotFoundError):
                yield self.info(path)


def options(settings: StorageSettings) -> dict[str, Any]:
    """Gives the arguments of an S3 for a job's settings."""
    return {
        "endpoint_url": settings.endpoint_url,
        "profile": settings.profile,
        "anon": settings.anonymous,
        "client_kwargs": {"region_name": settings.region} if settings.region else {},
        "config_kwargs": CONFIG,
        "max_concurrency": 1,  # or each small object's size is asked for before it is read
    }
