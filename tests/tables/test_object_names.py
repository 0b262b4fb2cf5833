"""Names of objects: what each way to write one gives, and what is nearly one."""

from pathlib import Path

import pytest

from pipeline.schema import DOCUMENT_LOGITS
from pipeline.storage.objects import Storage
from pipeline.tables.attempts import Attempts
from pipeline.tables.fragments import Fragments
from pipeline.tables.heartbeats import Heartbeats
from pipeline.tables.object_names import PATTERNS, ObjectName, object_name
from pipeline.tables.snapshots import Snapshots
from pipeline.tables.stream_lengths import StreamLengths

KEY, UNIT, RUN, DIGEST = "a1" * 8, "b2" * 16, "c3" * 8, "d4" * 8
NUMBER = f"{12:020d}"
KNOWN = {
    f"data/snapshot={NUMBER}/part-0001-{DIGEST}.parquet": ObjectName("data files", 12),
    f"data/snapshot={NUMBER}/lang=e%2Fn/day=/part-12345-{DIGEST}.parquet": ObjectName("data files", 12),
    f"errors/snapshot={NUMBER}/a b=c d/part-0001-{DIGEST}.parquet": ObjectName("errors files", 12),
    f"_units/{KEY}/b2/{UNIT}.parquet": ObjectName("fragments", None, KEY, UNIT),
    f"_units/{KEY}/b2/{UNIT}.read.begun": ObjectName("marks", None, KEY, UNIT),
    f"_units/{KEY}/b2/{UNIT}.predict.{RUN}.begun": ObjectName("marks", None, KEY, UNIT),
    f"_units/{KEY}/runs/{RUN}": ObjectName("heartbeats", None, KEY),
    f"_units/tallies/b2/{UNIT}-1": ObjectName("tallies", digest=UNIT),
    f"_units/cuts/b2/{UNIT}-17": ObjectName("stream lengths", digest=UNIT),
    f"_units/editions/{UNIT}-2": ObjectName("editions"),
    f"_units/documents/b2/{UNIT}": ObjectName("scratch", digest=UNIT),
    f"_units/computed/b2/{UNIT}": ObjectName("scratch", digest=UNIT),
    f"_index/{KEY}/{UNIT}.parquet": ObjectName("index", None, KEY),
    f"_snapshots/{NUMBER}.json": ObjectName("manifests", 12),
    f"_snapshots/{NUMBER}.units": ObjectName("lists of units", 12),
    f"_snapshots/{NUMBER}.claim": ObjectName("claims", 12),
    f"_snapshots/{NUMBER}.files.txt": ObjectName("lists of files", 12),
    f"_snapshots/{NUMBER}.removed.txt": ObjectName("lists of files", 12),
    f"_snapshots/{NUMBER}.added.redshift": ObjectName("lists of files", 12),
    f"_snapshots/{NUMBER}.vacuumed": ObjectName("notes of what was vacuumed", 12),
    f"_candidates/{NUMBER}.json": ObjectName("candidates", 12),
    "_latest.json": ObjectName("hints"),
    "_last_survey.json": ObjectName("hints"),
    "_erased/receipts/a.json": ObjectName("erasures"),
    "_runs/20261127T010203Z-0a1b2c3d/summary.json": ObjectName("records of runs"),
    "_runs/estimate.json": ObjectName("estimates"),
    "_vacuum/unreachable.parquet": ObjectName("records of vacuum"),
    "_lakes/0123456789abcdef.json": ObjectName("records of lakes"),
    "_vacuum/clock": ObjectName("records of vacuum"),
    "_vacuum/records/20261127T010203Z-0a1b2c3d.json": ObjectName("records of vacuum"),
    ".rookery-0123456789abcdef": ObjectName("broken-off writes"),
    f"_units/{KEY}/b2/.rookery-0123456789abcdef": ObjectName("broken-off writes"),
    "_units/.rookery-write-check": ObjectName("broken-off writes"),
}
UNKNOWN = [
    "README.md",
    "data/part.parquet",
    f"data/snapshot=12/part-0001-{DIGEST}.parquet",
    f"data/snapshot={NUMBER}/part-0001.parquet",
    f"data/snapshot={NUMBER}/part-0001-{DIGEST}.parquet.bak",
    f"data/snapshot={NUMBER}/notes/part-0001-{DIGEST}.parquet",
    f"data/snapshot={NUMBER}/_SUCCESS",
    f"old/data/snapshot={NUMBER}/part-0001-{DIGEST}.parquet",
    f"_units/key/b2/{UNIT}.parquet",
    f"_units/{KEY}/{UNIT}.parquet",
    f"_units/{KEY}/b2/{UNIT}.parquet\n",
    f"_snapshots/{NUMBER}.json.bak",
    "_snapshots/12.json",
    "_vacuum/notes.txt",
    "_runs/20261127T010203Z-0a1b2c3d/notes.txt",
    "_runs/20261127T010203Z-0a1b2c3d/estimate.json",
    "topics/.rookery-0123456789abcdef",
    ".rookery-notes",
]


@pytest.mark.parametrize("path", KNOWN)
def test_names_that_rookery_writes(path: str):
    assert object_name(path) == KNOWN[path]


@pytest.mark.parametrize("path", UNKNOWN)
def test_names_that_it_does_not(path: str):
    assert object_name(path) is None


def test_every_kind_is_tried():
    assert {name.kind for name in KNOWN.values()} == {*PATTERNS}


def test_what_writes_an_object_and_the_list_agree(tmp_path: Path):
    """Each by the function that names it where it is written."""
    fragments = Fragments(Storage(), str(tmp_path), KEY, DOCUMENT_LOGITS)
    snapshots = Snapshots(Storage(), str(tmp_path))
    StreamLengths(Storage(), str(tmp_path)).write(UNIT, 17)
    snapshots.claim("content")
    snapshots.mark_vacuumed(12, {})
    (length,) = (tmp_path / "_units/cuts").rglob("*-17")
    written = [
        (fragments.uri(UNIT), "fragments"),
        (Attempts(fragments, "read", RUN).uri(UNIT), "marks"),
        (Attempts(fragments, "predict", RUN).uri(UNIT, RUN), "marks"),
        (Heartbeats(fragments).uri(RUN), "heartbeats"),
        (snapshots.manifest_uri(12), "manifests"),
        *((str(path), "claims") for path in (tmp_path / "_snapshots").glob("*.claim")),
        *((str(path), "notes of what was vacuumed") for path in (tmp_path / "_snapshots").glob("*.vacuumed")),
        (str(length), "stream lengths"),
    ]
    assert len(written) == 8
    for uri, kind in written:
        name = object_name(uri.removeprefix(f"{tmp_path}/"))
        assert name, uri
        assert name.kind == kind
