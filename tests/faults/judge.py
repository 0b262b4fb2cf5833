"""The judge of the fault tests: what readers may see at any moment, and what must be there at the end."""

import hashlib
import io
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError

MANIFEST = "_snapshots/{:020d}.json"


@dataclass
class Table:
    """A table as readers meet it: by fsspec and Parquet alone, nothing of ours."""

    filesystem: Any
    root: str  # its path in the filesystem
    uri: str

    def read(self, name: str) -> bytes:
        data: bytes = self.filesystem.cat_file(f"{self.root}/{name}")
        return data

    def names(self, folder: str) -> list[str]:
        found = self.filesystem.find(f"{self.root}/{folder}")
        return [name.removeprefix(f"{self.root.lstrip('/')}/").removeprefix(f"{self.root}/") for name in found]

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Visible snapshots: their manifests without `run`, by name."""
        names = [name for name in self.names("_snapshots") if name.endswith(".json")]
        return {name: json.loads(self.read(name)) | {"run": None} for name in names}

    def published(self) -> dict[str, Any]:
        """All that readers see; equal for two tables exactly when their readers see the same."""
        seen: dict[str, Any] = dict(self.manifests())
        for manifest in list(seen.values()):
            seen |= {file["path"]: self.read(file["path"]) for file in manifest["files"]}
        if seen:
            seen["_latest.json"] = self.read("_latest.json")
        return seen

    def contents(self) -> dict[str, set[str]]:
        """The digests of each snapshot's files, by what it says it publishes: for tables with other numbers."""
        return {
            manifest["content"]: {file["sha256"] for file in manifest["files"]}
            for manifest in self.manifests().values()
        }


def check_whole(table: Table, manifest: dict[str, Any], ids: list[set[str]]) -> None:
    """Every file that a manifest lists is there, as it says; its documents are one of `ids`, each once."""
    found: list[str] = []
    counts = {"data": 0, "errors": 0}
    for file in manifest["files"]:
        data = table.read(file["path"])
        assert len(data) == file["bytes"], file["path"]
        assert hashlib.sha256(data).hexdigest() == file["sha256"], file["path"]
        rows = pq.read_table(io.BytesIO(data), columns=["id"])["id"].to_pylist()
        assert len(rows) == file["rows"], file["path"]
        counts[file["kind"]] += len(rows)
        found += rows
    assert (counts["data"], counts["errors"]) == (
        manifest["counts"]["predictions"],
        manifest["counts"]["errors"],
    )
    assert len(found) == manifest["counts"]["documents"] == len(set(found))
    assert set(found) in ids, "documents are missing, or none of the corpus's"


@dataclass
class Reader:
    """Polls a table in a thread while things happen to it; what it saw wrong is raised at the end."""

    table: Table
    ids: list[set[str]]
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    polls: int = 0
    problem: BaseException | None = None
    tolerant: bool = False  # of a store that does not answer

    def __enter__(self) -> "Reader":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.problem:
            raise self.problem
        self._poll()
        assert self.polls > 1

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.05):
                try:
                    self._poll()
                except (OSError, BotoCoreError):
                    if not self.tolerant:
                        raise
        except BaseException as problem:  # noqa: BLE001 - raised in the test's own thread
            self.problem = problem

    def _poll(self) -> None:
        now = self.table.manifests()
        for name, manifest in self.manifests.items():
            assert now.get(name) == manifest, f"{name}: changed or vanished after it was visible"
        for name, manifest in now.items():
            if name not in self.manifests:
                check_whole(self.table, manifest, self.ids)
                self.manifests[name] = manifest
        if self.table.filesystem.exists(f"{self.table.root}/_latest.json"):
            hint = json.loads(self.table.read("_latest.json"))
            assert MANIFEST.format(hint["snapshot"]) in self.table.manifests()
        self.polls += 1
