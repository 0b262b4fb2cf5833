"""A store of a large corpus and its table that answers as an object store would, and counts what it is asked.

Listings are computed, a unit of 100 documents to a file. Every footer is one real footer, every fragment is made up
when it is read, nothing holds text. Requests are counted as s3fs would send them
(tests/jobs/measure/test_scale.py holds the two together).
"""

import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus.slices import Unit
from pipeline.schema import DOCUMENT_LOGITS, fragment_schema
from pipeline.tables.group_tallies import GroupTally
from pipeline.tables.repeatable_parquet import parquet_bytes

UNITS_PER_FILE = 1
DOCUMENTS_PER_UNIT = 100
_DOCUMENT_BYTES = 16_000
LISTED_AT_ONCE = 1000  # objects in one reply of a store
ID_BYTES = 16  # of a unit


@dataclass(slots=True)
class World:
    """What the simulated store holds, and what it was asked. It holds 16 bytes for each unit that has a fragment."""

    files: int = 0
    file: bytes = b""
    units: list[Unit] = field(default_factory=list)  # of one file
    replaced: int = 0  # one corpus file in so many has a second version; 0: none
    fragments: dict[str, bytearray] = field(default_factory=dict)  # unit ids by folder
    sizes: dict[str, int] = field(default_factory=dict)  # of a snapshot's files
    tallies: dict[str, int] = field(default_factory=dict)  # documents of each
    objects: dict[str, bytes] = field(default_factory=dict)  # of all else that was put
    requests: Counter[str] = field(default_factory=Counter)

    def add_fragment(self, uri: str) -> None:
        """Puts a unit's fragment, that says nothing, into the store."""
        folder, _, name = uri.removeprefix("simulated://").rpartition("/")
        self.fragments.setdefault(folder, bytearray()).extend(bytes.fromhex(name.removesuffix(".parquet")))


class SimulatedStore(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """`simulated://corpus` and `simulated://table`, as an object store would answer."""

    protocol = "simulated"
    world: ClassVar[World] = World()

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        self.world.requests["HEAD"] += 1
        if path.startswith("corpus/documents-"):
            return self._corpus_file(int(path[-15:-8]))
        if path in self.world.objects:
            return _info(path, len(self.world.objects[path]))
        self.world.requests["LIST"] += 1
        if next(self._below(path), None) is None:
            raise FileNotFoundError(path)
        return {"name": path, "size": 0, "type": "directory"}

    def isdir(self, path: str) -> bool:
        self.world.requests["LIST"] += 1
        return next(self._below(path), None) is not None

    def exists(self, path: str, **_: Any) -> bool:
        self.world.requests["HEAD"] += 1
        return True

    def find_paged(self, path: str) -> Iterator[dict[str, Any]]:
        """Yields what lies below a folder, as pipeline/storage/s3.py does."""
        number = 0
        for number, info in enumerate(self._below(path), start=1):  # noqa: B007 - the last one is their count
            yield info
        self.world.requests["LIST"] += max(1, -(-number // LISTED_AT_ONCE))
        if not number:  # s3fs looks whether it is an object
            with contextlib.suppress(FileNotFoundError):
                yield self.info(path)

    def ls(self, path: str, **_: Any) -> list[dict[str, Any]]:
        self.world.requests["LIST"] += 1
        folders = [folder for folder in self.world.fragments if folder.startswith(f"{path}/")]
        return [{"name": folder, "size": 0, "type": "directory"} for folder in folders]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        self.world.requests["GET"] += 1
        if path.startswith("corpus/"):
            return self.world.file[start:end]
        if path in self.world.tallies:
            return tally(path, self.world.tallies[path]).dump()
        if path not in self.world.objects:
            raise FileNotFoundError(path)
        return self.world.objects[path]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self.world.requests["PUT"] += 1
        if mode == "create" and path in self.world.objects:
            raise FileExistsError(path)
        if path.endswith(".parquet"):
            self.world.sizes[path] = len(value)
        else:
            self.world.objects[path] = value

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        self.world.requests.update(("HEAD", "COPY"))
        self.world.sizes[path2] = self.world.sizes[path1]

    def _below(self, path: str) -> Iterator[dict[str, Any]]:
        world = self.world
        if path == "corpus":
            yield from (self._corpus_file(number) for number in range(world.files))
        elif path.endswith("/_units/tallies"):
            yield from (_info(name, 1) for name in [*world.tallies, *world.objects] if name.startswith(path))
        elif "/_units" in path:
            for folder, units in world.fragments.items():
                if f"{folder}/".startswith(f"{path}/"):
                    starts = range(0, len(units), ID_BYTES)
                    ids = (units[start : start + ID_BYTES].hex() for start in starts)
                    yield from (_info(f"{folder}/{id_}.parquet", 1) for id_ in ids)
        else:
            for sizes in (world.sizes, {name: len(data) for name, data in world.objects.items()}):
                inside = (name for name in list(sizes) if name.startswith(f"{path}/"))
                yield from (_info(name, sizes[name]) for name in inside)

    def _corpus_file(self, number: int) -> dict[str, Any]:
        world = self.world
        version = 2 if world.replaced and number % world.replaced == 0 else 1
        name = f"corpus/documents-{number:07d}.parquet"
        return _info(name, len(world.file)) | {"ETag": f'"{version:04d}{number:028d}"'}


def _info(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "size": size, "type": "file", "ETag": f'"{"0" * 32}"'}


fsspec.register_implementation("simulated", SimulatedStore)


def corpus_file() -> bytes:
    """Makes a Parquet file with a footer of 100 documents of 16,000 bytes; all alike, so that it weighs little."""
    sink, rows = io.BytesIO(), UNITS_PER_FILE * DOCUMENTS_PER_UNIT
    documents = pa.table(
        {
            "id": [f"document-{row:05d}" for row in range(rows)],
            "text": pa.repeat("x" * _DOCUMENT_BYTES, rows),
        }
    )
    pq.write_table(documents, sink, row_group_size=DOCUMENTS_PER_UNIT, use_dictionary=False, compression="zstd")
    return sink.getvalue()


def fragment_bytes(path: str) -> bytes:
    """Makes a unit's fragment: no two alike, so that published files are as large as real ones."""
    random = np.random.default_rng(list(path.encode()))
    n = DOCUMENTS_PER_UNIT
    digests = random.bytes(32 * n).hex()
    logits = pa.array(random.standard_normal(5 * n).astype(np.float32))
    columns = {
        "id": [f"document-{number:012d}" for number in random.integers(0, 10**12, n)],
        "position": np.arange(n),
        "content_sha256": [digests[64 * row : 64 * row + 64] for row in range(n)],
        "n_tokens": random.integers(1000, 8000, n).astype(np.int32),
        "n_windows": random.integers(1, 3, n).astype(np.int32),
        "truncated": np.zeros(n, bool),
        "logits": pa.ListArray.from_arrays(np.arange(0, 5 * n + 1, 5, dtype=np.int32), logits),
    }
    schema = fragment_schema(DOCUMENT_LOGITS)
    arrays = [columns.get(name, pa.nulls(n)) for name in schema.names]
    return parquet_bytes(pa.table(arrays, names=schema.names).cast(schema))


def tally(path: str, documents: int) -> GroupTally:
    """Makes a group's tally: as many digests as documents, spread evenly, and no two groups with the same."""
    step = 2**64 // documents
    first = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) % step
    digests = np.arange(documents, dtype=np.uint64) * np.uint64(step) + np.uint64(first)
    return GroupTally(documents, [], digests)
