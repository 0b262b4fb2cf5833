"""The name of every object that Rookery writes below a table; what has another name is not ours to delete.

A new object gets a row in `PATTERNS`, in the same change that writes it: until then it is reported as unknown, and kept
for ever. Of two rows that a path matches the first one counts.
"""

import re
from dataclasses import dataclass

NUMBER = r"(?P<snapshot>\d{20})"
KEY = r"(?P<key>[0-9a-f]{16})"
UNIT = r"[0-9a-f]{2}/(?P<digest>[0-9a-f]{32})"
DATA_FILE = r"(?:[^/=]+=[^/]*/)*part-\d{4,}-[0-9a-f]{16}\.parquet"
FOLDERS = r"(?:data|errors|_snapshots|_candidates|_units|_index|_erased|_vacuum|_lakes|_runs)(?:/[^/]+)*"
PATTERNS = {  # by kind, as people read it
    "fragments": rf"_units/{KEY}/{UNIT}\.parquet",
    "data files": rf"data/snapshot={NUMBER}/{DATA_FILE}",
    "errors files": rf"errors/snapshot={NUMBER}/{DATA_FILE}",
    "tallies": rf"_units/tallies/{UNIT}-\d+",
    "stream lengths": rf"_units/cuts/{UNIT}-\d+",
    "editions": r"_units/editions/(?:[0-9a-f]{2}/)?[0-9a-f]{32}-\d+",
    "scratch": rf"_units/(?:documents|computed)/{UNIT}(?:\.parquet)?",
    "marks": rf"_units/{KEY}/{UNIT}\.[a-z]+(?:\.[0-9a-f]{{16}})?\.begun",
    "heartbeats": rf"_units/{KEY}/runs/[0-9a-f]{{16}}(?:\.stop)?",
    "index": rf"_index/{KEY}/[0-9a-f]{{16,64}}\.parquet",
    "manifests": rf"_snapshots/{NUMBER}\.json",
    "lists of units": rf"_snapshots/{NUMBER}\.units",
    "lists of files": rf"_snapshots/{NUMBER}\.(?:(?:files|added|removed)\.txt|(?:added\.)?redshift)",
    "claims": rf"_snapshots/{NUMBER}\.claim",
    "notes of what was vacuumed": rf"_snapshots/{NUMBER}\.vacuumed",
    "candidates": rf"_candidates/{NUMBER}\.json",
    "hints": r"_latest\.json|_last_survey\.json",
    "erasures": r"_erased/.+",
    "records of runs": r"_runs/\d{8}T\d{6}Z-[0-9a-f]{8}/(?:progress\.json|summary\.json|report\.html)",
    "estimates": r"_runs/estimate\.json",
    "records of lakes": r"_lakes/[0-9a-f]{16}\.json",
    "records of vacuum": r"_vacuum/(?:clock|unreachable\.parquet|records/\d{8}T\d{6}Z-[0-9a-f]{8}\.json)",
    "broken-off writes": rf"(?:{FOLDERS}/)?\.rookery-(?:[0-9a-f]{{16}}|write-check)",
}
_COMPILED = [(kind, re.compile(pattern)) for kind, pattern in PATTERNS.items()]


@dataclass(frozen=True, slots=True)
class ObjectName:
    """What a path says of an object: its kind, and which snapshot, scoring key, unit or group it belongs to."""

    kind: str
    snapshot: int | None = None
    scoring_key: str | None = None
    digest: str | None = None


def object_name(path: str) -> ObjectName | None:
    """Reads a path, relative to the table; None for one that no Rookery writes."""
    for kind, pattern in _COMPILED:
        if match := pattern.fullmatch(path):
            groups = match.groupdict()
            snapshot = groups.get("snapshot")
            number = None if snapshot is None else int(snapshot)
            return ObjectName(kind, number, groups.get("key"), groups.get("digest"))
    return None
