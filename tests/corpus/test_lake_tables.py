"""Lake tables under whatever happens to them, against what their own libraries read."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings, strategies as st

from pipeline.config.corpus import CorpusSettings, LabelledCorpusSettings
from pipeline.config.label import StorageSettings
from pipeline.corpus.files import discover
from pipeline.corpus.labels import Labelled
from pipeline.corpus.overlaps import check_apart
from pipeline.corpus.units import cut
from pipeline.errors import ConfigError, CorpusError, SourceChangedError
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage
from tests.corpus import delta_tables, iceberg_tables
from tests.corpus.files import STORAGE, read
from tests.corpus.lakes import Rows, documents, rows_of, units_of
from tests.s3 import S3Server

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["append", "rewrite", "mark", "replace", "compact", "clean"]), st.integers(0, 30)),
    min_size=1,
    max_size=6,
)


@given(operations=OPERATIONS)
@settings(max_examples=12, deadline=None)
def test_a_delta_table_is_what_its_library_reads(operations: list[tuple[str, int]], tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("delta")
    write_deltalake(folder, documents([*range(8)]), configuration=delta_tables.DELETES)
    seen: dict[int, Rows] = {}
    for step, (operation, number) in enumerate(operations):
        table = DeltaTable(folder)
        match operation:
            case "append":
                write_deltalake(folder, documents([100 * (step + 1) + n for n in range(number % 5 + 1)]), mode="append")
            case "rewrite":
                table.delete(f"id = 'd{number}'")
            case "mark" if files := sorted(delta_tables.live(folder)):
                path = files[number % len(files)]
                n_rows = pq.read_metadata(folder / path).num_rows
                delta_tables.delete_rows(folder, path, sorted({0, number % n_rows}), in_file=number % 2 == 0)
            case "replace":
                changed = documents([number, 1000 + step], step + 1)
                merge = table.merge(changed, "t.id = s.id", "s", "t").when_matched_update_all()
                merge.when_not_matched_insert_all().execute()
            case "compact":
                table.optimize.compact()
            case "clean":
                table.create_checkpoint()
        now = DeltaTable(folder)
        seen[now.version()] = delta_tables.pairs(now)
    for version, expected in seen.items():
        assert rows_or_none(f"delta://{folder}@{version}") == expected
    assert rows_or_none(folder) == seen[max(seen)]
    shutil.rmtree(folder)


@pytest.mark.filterwarnings("ignore:Delete operation did not match any records")
@given(operations=OPERATIONS)
@settings(max_examples=6, deadline=None)
def test_an_iceberg_table_is_what_its_library_reads(operations: list[tuple[str, int]], tmp_path_factory: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        catalog = iceberg_tables.catalog_in(tmp_path_factory.mktemp("iceberg"), patch)
        table = catalog.create_table("ns.t", documents([]).cast(schema()).schema)
        table.append(documents([*range(8)]))
        for step, (operation, number) in enumerate(operations):
            match operation:
                case "append":
                    table.append(documents([100 * (step + 1) + n for n in range(number % 5 + 1)]))
                case "rewrite":
                    table.delete(f"id = 'd{number}'")
                case "mark" if files := iceberg_tables.data_files(table):
                    file = files[number % len(files)]
                    iceberg_tables.delete_rows(table, {file.file_path: sorted({0, number % file.record_count})})
                case "replace":
                    table.upsert(documents([number, 1000 + step], step + 1), ["id"])
                case "compact" if table.scan().count():
                    table.overwrite(table.scan().to_arrow())
                case "clean":
                    table.manage_snapshots().create_tag(table.snapshots()[-1].snapshot_id, f"t{step}").commit()
        for snapshot in table.snapshots():
            expected = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow().to_pylist()
            uri = f"iceberg://lake/ns.t@{snapshot.snapshot_id}"
            assert rows_or_none(uri) == sorted((row["id"], row["text"]) for row in expected)


def schema() -> pa.Schema:
    return pa.schema({"id": pa.string(), "text": pa.string()})


def rows_or_none(uri: object) -> Rows:
    with contextlib.suppress(CorpusError):  # of a table without files; the library tells that it has no rows
        return rows_of(uri)
    return []


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """URIs of the same documents, with labels, in a table of each kind."""
    labelled = documents([*range(6)]).append_column("topic", pa.array(["a", "b"] * 3))
    write_deltalake(tmp_path / "delta@home", labelled, partition_by=["topic"])
    catalog = iceberg_tables.catalog_in(tmp_path / "lake", monkeypatch)
    catalog.create_table("ns.t", labelled.schema).append(labelled)
    return f"delta://{tmp_path}/delta@home", "iceberg://lake/ns.t"


def test_training_and_evaluation_read_the_same_tables(lake: tuple[str, str]) -> None:
    expected = [(f"d{n}", f"text {n} 0", "ab"[n % 2]) for n in range(6)]
    for uri in lake:
        settings = LabelledCorpusSettings(uris=(uri,), id_column="id", label_column="topic")
        labelled = Labelled.open(STORAGE, settings)
        assert sorted((one.id, one.text, one.label) for one in labelled) == expected


def test_no_data_folder_is_listed(lake: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    really = Storage.files_in

    def noted(storage: Storage, folder: str) -> list[StoredFile]:
        listed.append(folder)
        return really(storage, folder)

    monkeypatch.setattr(Storage, "files_in", noted)
    monkeypatch.delattr(Storage, "look")
    for uri in (*lake, lake[0].removeprefix("delta://")):
        assert len(rows_of(uri)) == 6
    assert {folder.rpartition("/")[2] for folder in listed} == {"_delta_log"}


def test_what_is_written_lies_apart_from_a_table_s_folder(lake: tuple[str, str], tmp_path: Path) -> None:
    settings = CorpusSettings(uris=tuple(f"{uri}@0" for uri in lake))
    check_apart(STORAGE, {"corpus.uris": settings}, {"table.uri": f"{tmp_path}/out"}, None)
    with pytest.raises(ConfigError, match=r"lies where corpus\.uris .*/delta@home finds documents"):
        check_apart(STORAGE, {"corpus.uris": settings}, {"table.uri": f"{tmp_path}/delta@home/out"}, None)


def test_two_versions_of_a_table_and_versions_that_are_none_are_refused(lake: tuple[str, str]) -> None:
    for uris, error, message in [
        ((f"{lake[0]}@0", lake[0]), None, ""),
        ((f"{lake[0]}@newest",), CorpusError, r"/delta@home@newest: is no Delta table; .*@NUMBER for a version"),
        ((f"{lake[0]}@7",), CorpusError, "has no version 7; its newest is 0"),
        (("delta:///nowhere",), CorpusError, "is no Delta table; expected a folder with _delta_log/"),
    ]:
        expected = pytest.raises(error, match=message) if error else contextlib.nullcontext()
        with expected:
            discover(STORAGE, CorpusSettings(uris=uris))
    write_deltalake(
        lake[0].removeprefix("delta://"), documents([9]).append_column("topic", pa.array(["c"])), mode="append"
    )
    with pytest.raises(ConfigError, match=r"names version 1 of .*, and version 0 of .*; name one of the two"):
        discover(STORAGE, CorpusSettings(uris=(f"{lake[0]}@0", lake[0])))


def test_a_file_that_is_removed_in_mid_run_is_a_reason_to_run_again(lake: tuple[str, str]) -> None:
    for uri in lake:
        unit = units_of(uri)[0]
        Path(unit.file.uri.removeprefix("file://")).unlink()
        with pytest.raises(SourceChangedError, match=r"\.parquet is gone, .* vacuumed or expired meanwhile; run again"):
            read(STORAGE, unit)
        with pytest.raises(
            CorpusError, match=r" of the (Delta|Iceberg) table .* names .*; choose a version whose files"
        ):
            units_of(uri)


@pytest.mark.s3
def test_on_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bucket, storage = s3.new_bucket(), Storage(StorageSettings(endpoint_url=s3.endpoint))
    write_deltalake(tmp_path / "t", documents([*range(6)]), configuration=delta_tables.DELETES)
    delta_tables.delete_rows(tmp_path / "t", next(iter(delta_tables.live(tmp_path / "t"))), [0, 1], in_file=True)
    s3.filesystem().put(f"{tmp_path}/t", f"{bucket}/lake/t", recursive=True)
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__S3__ENDPOINT", s3.endpoint)
    table = iceberg_tables.catalog_in(tmp_path, monkeypatch, f"s3://{bucket}/iceberg").create_table("ns.t", schema())
    table.append(documents([*range(2, 6)]))
    for uri in (f"delta://s3://{bucket}/lake/t", "iceberg://lake/ns.t"):
        corpus = CorpusSettings(uris=(uri,), id_column="id")
        (unit,) = cut(storage, discover(storage, corpus).files, corpus, 16_000_000)
        assert unit.file.uri.startswith(f"s3://{bucket}/")
        assert read(storage, unit)["text"].to_pylist() == [f"text {n} 0" for n in range(2, 6)]
