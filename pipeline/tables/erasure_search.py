"""Where erased ids are in a table: every object that may hold one is read, a few at a time.

    _units/<scoring key>/…                    fragments
    _units/documents/…, _units/computed/…     scratch of runs
    _runs/…                                   records and reports of runs (erased_records.py)
    data/…, errors/…                          files of snapshots and candidates; those that no manifest names too: of a
                                              publication that died, or that an erasure has replaced

Files that several snapshots share are equal, and one of them is read. Names and hints below `_units/` hold no ids;
tallies hold digests of them (erasure.py).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.objects import TRANSFERS
from pipeline.tables.erased_ids import ErasedIds
from pipeline.tables.erased_records import erased_ids_told
from pipeline.tables.failures import transfer_batches
from pipeline.tables.repeatable_parquet import read_parquet
from pipeline.tables.snapshots import DIGITS, Manifest, Snapshots

MANIFEST_FOLDERS = ("_candidates", "_snapshots")  # in this order: a candidate may be published meanwhile
SCRATCH = ("documents", "computed")
WITHOUT_IDS = ("tallies", "cuts", "editions")
WITHOUT_RUNS = (*SCRATCH, *WITHOUT_IDS)
PARQUET = b"PAR1"
RECORDS = (".json", ".html")


@dataclass(slots=True)
class ErasedPlaces:
    """What holds rows of erased documents, or tells of them."""

    ids: set[str] = field(default_factory=set)  # that were found
    fragments: list[str] = field(default_factory=list)  # URIs
    records: list[str] = field(default_factory=list)  # URIs, of runs: their reports too
    scratch: list[str] = field(default_factory=list)  # URIs
    files: dict[str, list[str]] = field(default_factory=dict)  # URIs that a manifest names, by their bytes' sha256
    unnamed: list[str] = field(default_factory=list)  # URIs of files that none names


def find_erased(snapshots: Snapshots, erased: ErasedIds) -> ErasedPlaces:
    """Reads every object of a table that may hold ids, and gives those that hold erased ones."""
    search, places = _Search(snapshots, erased), ErasedPlaces()
    for folder in snapshots.storage.folders_in(snapshots.uri("_units")):
        name = folder.rpartition("/")[2]
        if name not in WITHOUT_IDS:
            is_scratch = name in SCRATCH
            holding = places.scratch if is_scratch else places.fragments
            for below in snapshots.storage.folders_in(folder):
                uris = [file.uri for file in snapshots.storage.find(below)]
                uris = [uri for uri in uris if is_scratch or uri.endswith(".parquet")]
                holding += search.holding(uris, places.ids)
    places.records += search.holding([file.uri for file in snapshots.storage.find(snapshots.uri("_runs"))], places.ids)
    _find_files(search, places)
    return places


def manifests(snapshots: Snapshots, number: int | None = None) -> Iterator[tuple[str, Manifest]]:
    """Reads the manifests of snapshots and candidates, ascending, or those with one number; gives their URIs too."""
    for each in manifest_numbers(snapshots) if number is None else [number]:
        for folder in MANIFEST_FOLDERS:
            uri = snapshots.uri(f"{folder}/{each:0{DIGITS}d}.json")
            try:
                yield uri, Manifest.parse(snapshots.storage.read(uri))
            except FileNotFoundError:
                continue


def manifest_numbers(snapshots: Snapshots) -> list[int]:
    """Lists the numbers of snapshots and candidates, ascending."""
    return sorted({*snapshots.published(), *snapshots.candidates()})


def _find_files(search: "_Search", places: ErasedPlaces) -> None:
    snapshots = search.snapshots
    # in this order: what is there and gets its manifest meanwhile is named
    there = [file.uri for kind in ("data", "errors") for file in snapshots.storage.find(snapshots.uri(kind))]
    named: dict[str, list[str]] = {}
    for _, manifest in manifests(snapshots):
        for file in manifest.files:
            named.setdefault(file.sha256, []).append(snapshots.storage.canonical(snapshots.uri(file.path)))
    is_there, names = set(there), {uri for uris in named.values() for uri in uris}
    places.unnamed += search.holding([uri for uri in there if uri not in names], places.ids)
    # those of a snapshot that was vacuumed are gone
    digest_of = {
        next(iter(rest)): sha256 for sha256, uris in named.items() if (rest := [u for u in uris if u in is_there])
    }
    for uri in search.holding(list(digest_of), places.ids):
        places.files[digest_of[uri]] = sorted({*named[digest_of[uri]]} & is_there)


@dataclass(frozen=True, slots=True)
class _Search:
    snapshots: Snapshots
    erased: ErasedIds

    def holding(self, uris: list[str], found: set[str]) -> Iterator[str]:
        """Gives those that hold erased ids, and adds these to `found`."""
        with ThreadPoolExecutor(TRANSFERS) as pool:
            for some in transfer_batches(uris):
                for uri, ids in zip(some, pool.map(self._ids, some), strict=True):
                    if ids:
                        found |= ids
                        yield uri

    def _ids(self, uri: str) -> set[str]:
        try:
            blob = self.snapshots.storage.read(uri)
        except FileNotFoundError:  # its run removed it meanwhile
            return set()
        if uri.endswith(RECORDS):
            return erased_ids_told(blob, self.erased)
        if not blob.startswith(PARQUET) or "id" not in pq.ParquetFile(pa.BufferReader(blob)).schema_arrow.names:
            return set()
        return self.erased.among(read_parquet(blob, ["id"])["id"].to_pylist())
