"""`deploy/quickstart.sh`: the real job on the shipped sample, then what came out against the sample's own labels."""

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Column, Table
from rich.text import Text

from jobs.label import run_job
from jobs.sample import CHECKPOINT, CORPUS
from jobs.terminal.console import console
from pipeline.config.label import Job, load_job
from pipeline.storage.objects import Storage
from pipeline.tables.snapshots import Manifest, Snapshots

PREDICTIONS_SHOWN = 10


def main() -> None:
    """Runs `rookery label` on jobs/sample/job.yaml and shows ten predictions and the accuracy."""
    job = load_job(
        CORPUS.parent / "job.yaml",
        [f"corpus.uris={CORPUS}/*.parquet", f"checkpoint.uri={CHECKPOINT}"],
    )
    console.rule("[bold]rookery label --config jobs/sample/job.yaml")
    manifest = run_job(job, listing="rookery errors --config jobs/sample/job.yaml")
    assert manifest
    labelled = _labelled(job, manifest)
    console.rule("[bold]ten of the test documents, which training never saw")
    console.print(_predictions(labelled.filter(pa.compute.equal(labelled["split"], "test"))))
    console.rule("[bold]accuracy against the sample's own labels")
    console.print(_accuracy(labelled))


def _labelled(job: Job, manifest: Manifest) -> pa.Table:
    """Predictions beside the sample's own labels, by id."""
    snapshots = Snapshots(Storage(job.storage), job.table.uri)
    blobs = [snapshots.storage.read(snapshots.uri(f.path)) for f in manifest.files if f.kind == "data"]
    columns = ["id", "label", "score", "n_tokens"]
    predictions = pa.concat_tables(pq.read_table(pa.BufferReader(blob), columns=columns) for blob in blobs)
    sample = pa.concat_tables(pq.read_table(file) for file in sorted(CORPUS.glob("*.parquet")))
    sample = sample.select(["id", "title", "label", "split"]).rename_columns({"label": "truth"})
    return predictions.join(sample, "id", join_type="inner").sort_by("id")


def _predictions(labelled: pa.Table) -> Table:
    title = Column("title", no_wrap=True, max_width=38)
    table = Table(title, "label", "score", "truth", "tokens", box=None, header_style="bold")
    step = max(1, len(labelled) // PREDICTIONS_SHOWN)
    for row in labelled.take(list(range(0, len(labelled), step))[:PREDICTIONS_SHOWN]).to_pylist():
        colour = "green" if row["label"] == row["truth"] else "red"
        score = f"{row['score']:.3f}"
        table.add_row(
            Text(row["title"]),
            f"[{colour}]{row['label']}",
            score,
            row["truth"],
            f"{row['n_tokens']:,}",
        )
    return table


def _accuracy(labelled: pa.Table) -> Table:
    table = Table("split", "documents", "correct", "accuracy", box=None, header_style="bold")
    for split in ("test", "validation", "train"):
        part = labelled.filter(pa.compute.equal(labelled["split"], split))
        correct = pa.compute.sum(pa.compute.equal(part["label"], part["truth"])).as_py()
        table.add_row(split, f"{len(part)}", f"{correct}", f"{correct / len(part):.3f}")
    return table


if __name__ == "__main__":
    main()
