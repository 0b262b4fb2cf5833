"""A lake table from night to night: what each version costs, and that the predictions are of its rows."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog import Catalog

from jobs.label import run_job
from jobs.labelled_table import corpus_record
from jobs.sample import CHECKPOINT
from jobs.terminal.snapshots_output import print_snapshots
from pipeline.config.label import Job, parse_job
from pipeline.planning.plan import plan_of
from pipeline.planning.survey import make_survey, unchanged_snapshot
from pipeline.storage.objects import Storage
from pipeline.tables.last_survey import LastSurvey
from pipeline.tables.publish import publish
from pipeline.tables.snapshots import Manifest
from tests.corpus import delta_tables, iceberg_tables
from tests.labelling import label_here

Rows = set[tuple[str, str]]


def documents(numbers: range, words: str = "a proposal") -> pa.Table:
    return pa.table({"id": [f"d{n}" for n in numbers], "text": [f"{words} of number {n}" for n in numbers]})


class DeltaLake:
    """A Delta table of which rows are deleted by a deletion vector."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.uri = folder / "lake", f"delta://{folder}/lake"

    def append(self, rows: pa.Table) -> None:
        write_deltalake(self.folder, rows, mode="append", configuration=delta_tables.DELETES)

    def delete_first_rows(self, count: int) -> None:
        path = next(iter(delta_tables.live(self.folder)))
        delta_tables.delete_rows(self.folder, path, [*range(count)], in_file=True)

    def replace(self, rows: pa.Table) -> None:
        merge = DeltaTable(self.folder).merge(rows, "t.id = s.id", "s", "t")
        merge.when_matched_update_all().execute()

    def compact(self) -> None:
        DeltaTable(self.folder).optimize.compact()

    def version(self) -> str:
        return str(DeltaTable(self.folder).version())

    def rows(self, version: str) -> Rows:
        return {*delta_tables.pairs(DeltaTable(self.folder, version=int(version)))}


class IcebergLake:
    """An Iceberg table of which rows are deleted by a file of positions."""

    uri = "iceberg://lake/ns.t"

    def __init__(self, catalog: Catalog) -> None:
        self.table = catalog.create_table("ns.t", documents(range(0)).cast(_schema()).schema)

    def append(self, rows: pa.Table) -> None:
        self.table.append(rows)

    def delete_first_rows(self, count: int) -> None:
        path = max(iceberg_tables.data_files(self.table), key=lambda file: file.record_count).file_path
        iceberg_tables.delete_rows(self.table, {path: [*range(count)]})

    def replace(self, rows: pa.Table) -> None:
        self.table.upsert(rows, ["id"])

    def compact(self) -> None:
        self.table.overwrite(self.table.scan().to_arrow())

    def version(self) -> str:
        return str(self.table.snapshots()[-1].snapshot_id)

    def rows(self, version: str) -> Rows:
        found = self.table.scan(snapshot_id=int(version)).to_arrow().to_pylist()
        return {(row["id"], row["text"]) for row in found}


def _schema() -> pa.Schema:
    return pa.schema({"id": pa.string(), "text": pa.string()})


@pytest.fixture(params=["delta", "iceberg"])
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeltaLake | IcebergLake:
    if request.param == "delta":
        return DeltaLake(tmp_path)
    return IcebergLake(iceberg_tables.catalog_in(tmp_path / "warehouse", monkeypatch))


def job(folder: Path, uri: str) -> Job:
    table = f"table.uri={folder}/table"
    return parse_job("", [f"corpus.uris={uri}", "corpus.id_column=id", f"checkpoint.uri={CHECKPOINT}", table])


def night(job: Job) -> tuple[int, int, Manifest]:
    """What `rookery label` does, without Ray: documents that were computed, that were read, and the snapshot."""
    survey = make_survey(job)
    plan = plan_of(survey)
    plan.sweep()
    units = label_here(plan)
    run = corpus_record(survey.corpus)
    manifest = publish(plan.snapshots, plan.fragments, plan.publication, run)
    LastSurvey(plan.storage, job.table.uri).write(survey.digest, manifest.content)
    computed = sum(unit.documents - unit.taken_over - unit.errors for unit in units)
    return computed, sum(unit.documents for unit in units), manifest


def predicted(folder: Path, manifest: Manifest) -> set[tuple[str, Any]]:
    files = [str(folder / "table" / file.path) for file in manifest.files]
    table = pyarrow.dataset.dataset(files).to_table(columns=["id", "content_sha256"])
    return {(row["id"], row["content_sha256"]) for row in table.to_pylist()}


def test_each_version_costs_what_is_new_in_it(lake: DeltaLake | IcebergLake, tmp_path: Path, capsys: Any) -> None:
    manifests: list[Manifest] = []
    versions: list[str] = []

    def costs(version: str | None = None) -> tuple[int, int]:
        uri = lake.uri if version is None else f"{lake.uri}@{version}"
        computed, read, manifest = night(job(tmp_path, uri))
        versions.append(version or lake.version())
        manifests.append(manifest)
        assert [table["version"] for table in manifest.run["corpus_tables"]] == [versions[-1]]
        texts = {(id_, hashlib.sha256(text.encode()).hexdigest()) for id_, text in lake.rows(versions[-1])}
        assert predicted(tmp_path, manifest) == texts
        return computed, read

    lake.append(documents(range(6)))
    assert costs() == (6, 6)
    lake.append(documents(range(6, 9)))
    assert costs() == (3, 3)
    lake.delete_first_rows(2)
    computed, read = costs()
    assert computed == 0
    assert 0 < read < 7  # of the other file nothing is read
    lake.replace(documents(range(7, 8), "quite another text"))
    assert costs()[0] == 1
    lake.compact()
    assert costs() == (0, 7)
    assert costs(versions[1]) == (0, 0)  # rolled back to: its fragments are there
    print_snapshots(str(tmp_path / "table"), manifests, [])
    shown = capsys.readouterr().out
    assert all(version in shown for version in versions)


def test_a_version_that_was_read_costs_no_footer(lake: DeltaLake | IcebergLake, tmp_path: Path, capsys: Any) -> None:
    lake.append(documents(range(6)))
    lake.delete_first_rows(2)
    run_job(job(tmp_path, lake.uri), dry_run=True)
    assert f" {lake.version()} of the " in " ".join(capsys.readouterr().err.split())
    night(job(tmp_path, lake.uri))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "read_start", "read_end", "read_range"):
            patch.delattr(Storage, name)
        assert unchanged_snapshot(make_survey(job(tmp_path, lake.uri))) is not None
    lake.append(documents(range(6, 7)))
    assert unchanged_snapshot(make_survey(job(tmp_path, lake.uri))) is None
