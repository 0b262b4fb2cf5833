"""Data sets of a hub as a corpus, against a stand-in on loopback that answers huggingface_hub over HTTP."""

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.corpus import CorpusSettings
from pipeline.config.label import StorageSettings
from pipeline.corpus.documents import rows
from pipeline.corpus.files import Corpus, discover
from pipeline.corpus.units import cut
from pipeline.errors import (
    AccessError,
    ConfigError,
    CorpusError,
    RookeryError,
    SourceChangedError,
    StorageError,
    UnavailableError,
)
from pipeline.storage.objects import Storage
from tests.corpus.files import jsonl, parquet_of
from tests.hub import DATA_SET, Hub, running_hub

IMPATIENT = Storage(StorageSettings(retry=0))
URI = f"hf://datasets/{DATA_SET}"
FILES = {
    ".gitattributes": b"*.parquet filter=lfs",
    "README.md": b"# Data set card",
    "data/lang=en/train-0.parquet": parquet_of(["a", "b"]),
    "data/lang=en/train-1.parquet": parquet_of(["c"]),
    "data/lang=fr/train-0.parquet": parquet_of(["d"]),
    "raw/a.jsonl.gz": gzip.compress(jsonl(["e", "f"])),
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as hub:
        hub.push(FILES)
        use(hub, monkeypatch)
        yield hub


def use(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_ENDPOINT does for a process that begins."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def corpus(*uris: str, storage: Storage = IMPATIENT) -> Corpus:
    return discover(storage, CorpusSettings(uris=uris))


def texts(*uris: str) -> list[str]:
    settings = CorpusSettings(uris=uris)
    units = cut(IMPATIENT, discover(IMPATIENT, settings).files, settings, 16_000_000)
    return [row["text"] for unit in units for row in rows(IMPATIENT, unit)]


def test_a_data_set_is_listed_as_a_folder_is(hub: Hub) -> None:
    found = corpus(f"{URI}/data")
    assert [file.uri for file in found.files] == [f"{URI}/{path}" for path in sorted(FILES) if path.startswith("data/")]
    assert [file.partitions for file in found.files][-1] == (("lang", "fr"),)
    assert found.commits == ((f"{URI}/data", hub.refs["main"]),)
    assert [file.uri for file in corpus(f"{URI}/**/*.parquet").files] == [file.uri for file in found.files]
    assert [file.uri for file in corpus(f"{URI}/raw/a.jsonl.gz").files] == [f"{URI}/raw/a.jsonl.gz"]


def test_its_documents_are_those_of_the_same_files_on_a_disk(hub: Hub, tmp_path: Path) -> None:
    for path, data in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert texts(f"{URI}/data", f"{URI}/raw") == texts(f"{tmp_path}/data", f"{tmp_path}/raw") == list("abcdef")


def test_of_a_large_file_only_ranges_are_read(hub: Hub) -> None:
    table = pa.table({"text": ["short"], "other": ["x" * 12_000_000]})
    file = pa.BufferOutputStream()
    pq.write_table(table, file, use_dictionary=False, compression="none", write_statistics=False)
    hub.push({"a.parquet": file.getvalue().to_pybytes()})
    assert texts(f"{URI}/a.parquet") == ["short"]
    assert hub.sent_bytes < 12_000_000


def test_a_mirror_that_knows_no_ranges_is_read(hub: Hub) -> None:
    hub.knows_ranges = False
    assert texts(f"{URI}/data") == list("abcd")


def test_a_version_is_the_blob_and_not_the_commit(hub: Hub) -> None:
    before = corpus(f"{URI}/data")
    hub.push(FILES | {"README.md": b"another card", "data/lang=fr/train-0.parquet": parquet_of(["new"])})
    after = corpus(f"{URI}/data")
    assert before.commits != after.commits
    same = [a == b for a, b in zip(before.files, after.files, strict=True)]
    assert same == [True, True, False]


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub) -> None:
    first = hub.refs["main"]
    hub.refs["v1.0"] = first
    hub.push({"data/a.jsonl": jsonl(["newest"])})
    assert texts(f"{URI}/data") == ["newest"]
    for revision in ("v1.0", first):
        assert texts(f"{URI}@{revision}/data") == list("abcd")
        (file, *_) = corpus(f"{URI}@{revision}/data").files
        assert file.uri == f"{URI}@{revision}/data/lang=en/train-0.parquet"
        assert dict(corpus(f"{URI}@{revision}/data").commits) == {f"{URI}@{revision}/data": first}


def test_a_file_that_was_pushed_after_planning_is_not_read_for_the_planned_one(hub: Hub) -> None:
    settings = CorpusSettings(uris=(f"{URI}/data",))
    unit = cut(IMPATIENT, discover(IMPATIENT, settings).files, settings, 16_000_000)[0]
    hub.push(FILES | {"data/lang=en/train-0.parquet": parquet_of(["x", "y"])})
    with pytest.raises(SourceChangedError, match=r"train-0\.parquet was replaced"):
        list(rows(IMPATIENT, unit))
    hub.push({"data/other.parquet": parquet_of(["x"])})
    with pytest.raises(SourceChangedError, match=r"train-0\.parquet is gone"):
        list(rows(IMPATIENT, unit))


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("hf://datasets/owner/nam", CorpusError, "no such data set, or a private one; check the name, or log in with"),
        (f"{URI}@v9", CorpusError, "this data set has no such revision; name a branch, a tag or a commit"),
        (f"{URI}/nothing/*.parquet", CorpusError, "no file matches"),
        (f"{URI}/nothing", CorpusError, "no file matches"),
        ("hf://name", ConfigError, "names no data set .*; expected hf://datasets/owner/name"),
        ("hf://datasets/owner/*", ConfigError, "names no data set .*; expected hf://datasets/owner/name"),
    ],
)
def test_what_the_hub_does_not_have(hub: Hub, uri: str, error: type[RookeryError], message: str) -> None:
    with pytest.raises(error, match=message):
        corpus(uri)


def test_a_gated_data_set_is_said_to_be_one(hub: Hub) -> None:
    hub.is_gated = True
    with pytest.raises(AccessError, match="is gated; ask for access on its page, and log in with"):
        texts(f"{URI}/data")


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (403, AccessError, r"the hub refuses \(403\)"),
        (503, UnavailableError, r"the hub failed \(503"),
        (429, UnavailableError, r"the hub failed \(429"),
        (418, StorageError, r"the hub failed \(418"),
    ],
)
def test_what_the_hub_answers(hub: Hub, status: int, error: type[RookeryError], message: str) -> None:
    hub.failures = [status] * 3
    with pytest.raises(error, match=message):
        corpus(f"{URI}/data")


def test_a_hub_that_is_away_for_a_moment_is_waited_for(hub: Hub) -> None:
    hub.failures = [503]
    assert len(corpus(f"{URI}/data", storage=Storage(StorageSettings(retry=5))).files) == 3
    assert not hub.failures


def test_no_network_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as hub:
        use(hub, monkeypatch)
    with pytest.raises(UnavailableError, match=r"the hub can't be reached .*; check the network and HF_ENDPOINT"):
        corpus(f"{URI}/data")


def test_offline_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=f"{URI}: HF_HUB_OFFLINE is set; unset it"):
        corpus(URI)
    assert not hub.requests


def test_the_hub_is_that_of_hf_endpoint(hub: Hub) -> None:
    script = f"from pipeline.storage.objects import Storage; print(len(Storage().find('{URI}/data')))"
    process = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"HF_ENDPOINT": hub.endpoint},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "3\n"
