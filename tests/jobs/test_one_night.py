"""One night's journey: label on a real store, load, load the difference, commit to lakes, export, review, train.

DuckDB and ClickHouse read a copy of the table on this disk, for neither gets at a store of this machine without an
extension or a certificate; PostgreSQL's script holds the rows.
"""

import datetime as dt
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable
from pyiceberg.catalog.sql import SqlCatalog

from jobs.evaluation_run import run_evaluation
from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.evaluate import EvaluationJob
from pipeline.config.label import StorageSettings
from pipeline.config.loader import parse_settings
from pipeline.storage.objects import Storage
from pipeline.tables.predictions import open_predictions
from pipeline.tables.snapshots import Manifest, Snapshots
from tests.jobs.test_label import rookery
from tests.processes import on_ray
from tests.s3 import REGION, S3Server
from tests.training.corpora import job as training_job, train
from tests.warehouses.engines import ENGINES, POSTGRES, quoted, warehouse
from tests.warehouses.tables import NAME

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.timeout(1200)]  # a guard against hanging: it takes a minute
CARRIED = ["title", "source", "published_at", "volume"]
ORDER = ["id", "content_sha256", "label", "score", "title", "source", "published_at_month", "volume"]
COLUMNS = ", ".join(ORDER)


def corpus() -> list[dict[str, Any]]:
    rows = pq.read_table(CORPUS / "test.parquet").select(["id", "text", "title", "source"]).to_pylist()[:24]
    return [row | {"text": row["text"][:1500]} | _written(number) for number, row in enumerate(rows)]


def _written(number: int) -> dict[str, Any]:
    """When, in one of two months, and in which of three volumes, of which one is unknown."""
    return {
        "published_at": dt.datetime(2024, 1 + number % 2, 29 - number, 23, 30, tzinfo=dt.UTC),
        "volume": [7, 12, None][number % 3],
    }


def second_night(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One document is new, one is gone, the text of one is another, and of one the title alone."""
    edited = [dict(row) for row in rows[1:]]
    edited[0]["text"] += " and one more word"
    edited[1]["title"] = "another title"
    return [
        *edited,
        {"id": "new", "text": "a proposal that came in the night", "title": None, "source": "night"} | _written(1),
    ]


class Night:
    """The table, its corpus and its lakes, all but the catalog in one bucket."""

    def __init__(self, s3: S3Server, ray_address: str, folder: Path) -> None:
        self.s3, self.folder, self.bucket = s3, folder, s3.new_bucket()
        self.uri = f"s3://{self.bucket}/topics"
        self.environment = s3.environment() | {"AWS_ENDPOINT_URL": s3.endpoint}
        self.on_ray = on_ray(ray_address, self.environment)
        self.snapshots = Snapshots(Storage(StorageSettings(endpoint_url=s3.endpoint)), self.uri)
        self.catalog = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"s3://{self.bucket}/warehouse"}
        (folder / "job.yaml").write_text(yaml.safe_dump(self._job()))

    def _job(self) -> dict[str, Any]:
        return {
            "corpus": {"uris": f"s3://{self.bucket}/corpus", "id_column": "id", "columns": CARRIED},
            "checkpoint": {"uri": str(CHECKPOINT)},
            "table": {"uri": self.uri, "partition_by": ["month(published_at)", "volume"]},
            "text": {"max_tokens": 128, "long_documents": "head"},
            "compute": {"dtype": "fp32"},
            "storage": {"endpoint_url": self.s3.endpoint},
            "publish": {
                "iceberg": {"table": "predictions.topics", "properties": self.catalog},
                "delta": {"uri": f"s3://{self.bucket}/delta"},
            },
        }

    def label(self, rows: list[dict[str, Any]]) -> Manifest:
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), data)
        self.s3.filesystem().pipe_file(f"{self.bucket}/corpus/a.parquet", data.getvalue())
        self.command("label", "--config", f"{self.folder}/job.yaml", **self.on_ray)
        manifest = self.snapshots.latest()
        assert manifest is not None
        return manifest

    def command(self, *arguments: str, **environment: str) -> str:
        ended = rookery(*arguments, **(environment or self.environment))
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout)

    def copy(self) -> Path:
        """The whole table on this disk, as it may be moved."""
        local = self.folder / NAME
        self.s3.filesystem().get(f"{self.bucket}/topics/", f"{local}/", recursive=True)
        return local

    def rows(self, manifest: Manifest) -> pa.Table:
        return open_predictions(self.snapshots, manifest).to_table().sort_by("id")

    def lakes(self) -> dict[str, pa.Table]:
        properties = self.catalog | {"s3.endpoint": self.s3.endpoint, "s3.region": REGION}
        iceberg = SqlCatalog("rookery", **properties).load_table("predictions.topics").scan().to_arrow()
        options = {"AWS_ENDPOINT_URL": self.s3.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION}
        delta = pa.table(DeltaTable(f"s3://{self.bucket}/delta", storage_options=options).to_pyarrow_table())
        return {"iceberg": iceberg.sort_by("id"), "delta": delta.sort_by("id")}


def plain(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rows with the volume as the corpus has it: a key of paths is text to who goes by them."""
    table = table.set_column(table.schema.get_field_index("volume"), "volume", table["volume"].cast(pa.int64()))
    return [tuple(row[name] for name in ORDER) for row in table.select(ORDER).to_pylist()]


def test_from_the_corpus_to_whoever_loads_judges_and_trains(ray_address: str, s3: S3Server, tmp_path: Path):
    night = Night(s3, ray_address, tmp_path)
    first_rows = corpus()
    first = night.label(first_rows)
    assert plain(night.rows(first))[0][ORDER.index("title")] is not None
    engines = [name for name in ENGINES if name != "postgres" or POSTGRES.is_dir()]
    scripts = {name: [_script(night, name, first)] for name in engines}
    second = night.label(second_night(first_rows))
    assert second.changes is not None
    changes = (second.changes.added, second.changes.changed, second.changes.removed, second.changes.unchanged)
    assert changes == (1, 1, 1, 22)
    assert second.run["work"]["documents_computed"] == 2  # the title that changed costs none
    expected = plain(night.rows(second))
    for name in engines:
        scripts[name].append(_script(night, name, second, since=first.snapshot))
        with warehouse(name, tmp_path / f"of-{name}") as engine:
            for script in [scripts[name][0], scripts[name][1], scripts[name][1]]:
                engine.run(script)  # ends with the comparison of counts and digests
            assert engine.rows(COLUMNS) == expected, name
    for name, table in night.lakes().items():
        assert plain(table) == expected, name
    _exported(night, expected)
    labelled = _reviewed(night)
    folder = tmp_path / "model"
    train(
        training_job(labelled, folder, init={"vocabulary": 300}, training={"epochs": 1}, corpus={"split_column": None})
    )
    _evaluate(night, folder)


def _script(night: Night, engine: str, manifest: Manifest, since: int | None = None) -> str:
    table = night.uri if engine == "postgres" else str(night.copy())
    asked = [] if since is None else ["--since", str(since)]
    script = night.command("sql", table, "--engine", engine, *asked)
    assert f"snapshot {manifest.snapshot}" in script
    return script.replace(quoted("topics"), quoted(NAME)) if engine == "postgres" else script


def _exported(night: Night, expected: list[tuple[Any, ...]]) -> None:
    path = f"{night.folder}/topics.csv"
    night.command("export", night.uri, path, "--columns", COLUMNS)
    by_pandas = pd.read_csv(path, keep_default_na=False, na_values=[""]).sort_values("id")
    by_polars = pl.read_csv(path, null_values=[""]).sort("id")
    assert [tuple(None if pd.isna(v) else v for v in row) for row in by_pandas.itertuples(index=False)] == expected
    assert by_polars.rows() == expected


def _reviewed(night: Night) -> Path:
    """People take one label for another, of the least sure and of the control share."""
    night.command("review", "export", night.uri, f"{night.folder}/review.json", "--documents", "12", "--control", "50%")
    tasks = json.loads((night.folder / "review.json").read_text())
    labels = sorted({task["data"]["predicted"] for task in tasks})[:2]
    for number, task in enumerate(tasks):
        choice = {
            "from_name": "label",
            "to_name": "text",
            "type": "choices",
            "value": {"choices": [labels[number % 2]]},
        }
        task["annotations"] = [{"result": [choice], "completed_by": {"email": "someone@example.com"}}]
    (night.folder / "back.json").write_text(json.dumps(tasks))
    labelled = night.folder / "labelled.parquet"
    night.command("review", "import", night.uri, f"{night.folder}/back.json", str(labelled))
    assert b"someone" not in labelled.read_bytes()
    assert sorted(pq.read_table(labelled)["label"].unique().to_pylist()) == labels
    return labelled


def _evaluate(night: Night, model: Path) -> None:
    """Of what was trained on, on other documents: the labels that people gave are those that it knows."""
    labels = json.loads((model / "config.json").read_text())["id2label"].values()
    lines = [json.dumps({"id": str(n), "text": f"text {n} " * 20, "label": label}) for n, label in enumerate(labels)]
    (night.folder / "gold.jsonl").write_text("\n".join(lines))
    settings = [
        f"corpus.uris={night.folder}/gold.jsonl",
        "corpus.id_column=id",
        "corpus.label_column=label",
        f"checkpoint.uri={model}",
        f"evaluation.output={night.folder}/evaluation",
        "compute.dtype=fp32",
    ]
    run_evaluation(parse_settings(EvaluationJob, "", settings, "job"))
    assert json.loads((night.folder / "evaluation" / "metrics.json").read_text())["measured"] == len(lines)
