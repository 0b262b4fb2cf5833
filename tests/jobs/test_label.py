"""The whole job, for real: Ray, the encoder, the shipped checkpoint, real documents."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
import yaml

from jobs.label import run_job
from jobs.sample import CHECKPOINT, CORPUS
from pipeline.config.label import Job, parse_job
from pipeline.errors import ConfigError
from pipeline.planning.plan import make_plan
from pipeline.tasks.classification import softmax
from tests.jobs.corpora import documents, plain_logits, write_every_format
from tests.labelling import label_here
from tests.processes import on_ray
from tests.s3 import S3Server

ROOT = Path(__file__).parent.parent.parent


def job(folder: Path, *overrides: str) -> Job:
    settings = [
        f"corpus.uris={folder}/corpus/**",
        "corpus.id_column=id",
        f"checkpoint.uri={CHECKPOINT}",
        f"table.uri={folder}/table",
        "compute.dtype=fp32",
        "units.text_bytes=30000",
    ]
    return parse_job("", [*settings, *overrides])


def rookery(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )


def job_file(path: Path, settings: Job) -> str:
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_unset=True)))
    return str(path)


def tree(folder: Path) -> dict[str, bytes]:
    """A table's files, but for the records of its runs."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and "_runs" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def published(folder: Path) -> dict[str, bytes]:
    """What readers see: all but the manifest's `run` and the URIs that name the folder itself."""
    files = tree(folder)
    manifests = {
        name: json.loads(files[name]) | {"run": None}
        for name in files
        if name.startswith("_snapshots") and name.endswith("json")
    }
    rest = {
        name: data
        for name, data in files.items()
        # but the heartbeat of a run that was killed: for a minute it may be alive, and its actors, which Ray ends a
        # moment after it, may leave marks of what they are at; the next run sweeps both
        if name.startswith(("data/", "errors/", "_units/")) and "/runs/" not in name and not name.endswith(".begun")
    }
    return rest | {name: json.dumps(manifest).encode() for name, manifest in manifests.items()}


@pytest.mark.ray
def test_every_document_once_with_the_label_that_the_plain_predictor_gives(ray: None, tmp_path: Path):
    found = write_every_format(tmp_path / "corpus", documents(30))
    manifest = run_job(job(tmp_path, "table.partition_by=[collection]", "table.buckets=2"))
    assert manifest is not None
    assert manifest.counts["documents"] == manifest.counts["predictions"] == len(found)

    glob = f"{tmp_path}/table/data/snapshot={manifest.snapshot:020d}/**/*.parquet"
    rows = duckdb.sql(
        f"select id, label, score, scores, n_windows, collection from read_parquet('{glob}', hive_partitioning = true)"
    )
    by_id = {row[0]: row for row in rows.fetchall()}
    assert len(rows) == len(by_id) == len(found)

    labels = [score["label"] for score in next(iter(by_id.values()))[3]]
    for id_, logits in plain_logits(found).items():
        probabilities = softmax(logits[None])[0]
        _, label, score, scores, _, _ = by_id[id_]
        assert label == labels[probabilities.argmax()]
        assert score == pytest.approx(probabilities.max(), abs=1e-5)  # fp32 sums in another order
        assert np.allclose([s["score"] for s in scores], probabilities, atol=1e-5)
    assert {row[5] for row in by_id.values()} == {"parquet", "lines", "a table", "texts"}
    assert max(row[4] for row in by_id.values()) > 1, "no document was longer than a window"


def test_a_second_run_publishes_nothing_and_loads_nothing_large(tmp_path: Path):
    write_every_format(tmp_path / "corpus", documents(10))
    label_here(make_plan(job(tmp_path)))
    first = run_job(job(tmp_path))
    before = tree(tmp_path / "table")
    assert run_job(job(tmp_path)) == first
    path = job_file(tmp_path / "job.yaml", job(tmp_path))
    second = rookery("label", "--config", path, PYTHONPROFILEIMPORTTIME="1")
    assert "Nothing was published" in second.stderr
    assert tree(tmp_path / "table") == before
    imported = {line.rpartition("|")[2].strip() for line in second.stderr.splitlines()}
    assert imported & {"torch", "ray", "pandas", "sklearn", "pyarrow"} == {"pyarrow"}


@pytest.mark.ray
def test_only_what_is_new_is_labelled(ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found = documents(12)
    write_every_format(tmp_path / "corpus", found[:10])
    label_here(make_plan(job(tmp_path)))
    run_job(job(tmp_path))
    fragments = {path.name for path in (tmp_path / "table").glob("_units/*/*/*.parquet")}
    (tmp_path / "corpus" / "new.jsonl").write_text(
        "".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in found[10:])
    )
    manifest = run_job(job(tmp_path))
    assert manifest is not None
    assert (manifest.snapshot, manifest.counts["documents"]) == (2, 12)
    now = {path.name for path in (tmp_path / "table").glob("_units/*/*/*.parquet")}
    assert len(now - fragments) == 1
    shown = " ".join(capsys.readouterr().err.split())
    assert "this run 2 documents in 1 unit: 2 predictions, 0 errors; the other 10 were done before" in shown
    assert "changes 2 added, 0 changed, 0 removed, 10 unchanged since snapshot 1" in shown


def test_bad_documents_become_errors_and_cost_no_neighbour(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    lines = [
        b'{"id": "good", "text": "a proposal"}',
        b'{"id": "null", "text": null}',
        b"[1]",
        b"{",
        b'{"id": "bytes", "text": "\xff"}',
        b'{"id": "blank", "text": " "}',
        b'{"id": "last", "text": "another"}',
    ]
    (tmp_path / "corpus" / "a.jsonl").write_bytes(b"\n".join(lines))
    label_here(make_plan(job(tmp_path)))
    manifest = run_job(job(tmp_path, "max_errors=5"))
    assert manifest is not None
    assert manifest.counts == {
        "documents": 7,
        "predictions": 2,
        "errors": 5,
        "unlabelled": 0,
        "duplicate_ids": 0,
        "erased": 0,
        "units": 1,
        "source_files": 1,
    }
    errors = duckdb.sql(
        f"select reason, source_position from '{tmp_path}/table/errors/**/*.parquet' order by 2"
    ).fetchall()
    assert [reason for reason, _ in errors] == [
        "null_text",
        "not_an_object",
        "invalid_json",
        "invalid_utf8",
        "empty_text",
    ]
    starts = [sum(len(line) + 1 for line in lines[:n]) for n in range(1, 6)]
    assert [position for _, position in errors] == starts


def test_limit_gives_a_partial_snapshot(tmp_path: Path):
    write_every_format(tmp_path / "corpus", documents(20))
    label_here(make_plan(job(tmp_path), limit=7))
    manifest = run_job(job(tmp_path), limit=7)
    assert manifest is not None
    assert (manifest.partial, manifest.counts["documents"]) == (True, 7)
    label_here(make_plan(job(tmp_path)))
    complete = run_job(job(tmp_path))
    assert complete is not None
    assert (complete.snapshot, complete.partial, complete.counts["documents"]) == (2, False, 20)


def test_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_every_format(tmp_path / "corpus", documents(10))
    assert run_job(job(tmp_path), dry_run=True) is None
    shown = capsys.readouterr().err
    assert "6 files" in shown
    assert "0 are done" in shown
    assert not (tmp_path / "table").exists()


@pytest.mark.ray
@pytest.mark.s3
def test_on_s3(ray_address: str, s3: S3Server, tmp_path: Path):
    """Corpus, checkpoint and table in buckets; run twice."""
    found = write_every_format(tmp_path / "corpus", documents(15))
    filesystem, bucket = s3.filesystem(), s3.new_bucket()
    filesystem.put(str(tmp_path / "corpus"), f"{bucket}/corpus", recursive=True)
    filesystem.put(str(CHECKPOINT), f"{bucket}/checkpoint", recursive=True)
    settings = job(
        tmp_path,
        f"corpus.uris=s3://{bucket}/corpus/**/*.*",
        f"checkpoint.uri=s3://{bucket}/checkpoint",
        f"table.uri=s3://{bucket}/table",
        f"storage.endpoint_url={s3.endpoint}",
        "table.partition_by=[collection]",
    )
    path = job_file(tmp_path / "job.yaml", settings)
    first = rookery("label", "--config", path, **on_ray(ray_address, s3.environment()))
    assert first.returncode == 0, first.stderr
    assert first.stderr.rstrip().splitlines()[-1].startswith("report ")  # libraries have nothing to say at its end
    second = rookery("label", "--config", path, **s3.environment())
    assert "Nothing was published" in second.stderr

    duckdb.register_filesystem(filesystem)
    glob = f"s3://{bucket}/table/data/snapshot=00000000000000000001/**/*.parquet"
    rows = duckdb.sql(f"select id, scores from read_parquet('{glob}', hive_partitioning = true)").fetchall()
    expected = {
        d.id.replace(f"file://{tmp_path}", f"s3://{bucket}"): softmax(logits[None])[0]
        for d, logits in zip(found, plain_logits(found).values(), strict=True)
    }
    assert sorted(id_ for id_, _ in rows) == sorted(expected)
    for id_, scores in rows:
        assert np.allclose([s["score"] for s in scores], expected[id_], atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "code", "message"),
    [
        (["tabel.uri=x"], 2, "tabel: unknown key"),
        (["table.buckets=many"], 2, "table.buckets: Input should be a valid integer (got 'many')"),
        (["table.partition_by=[nope]"], 2, "the corpus has no such hive key"),
        (["text.max_tokens=9999"], 2, "the checkpoint has 4096 positions"),
        (["corpus.uris=/no/such/folder/*.parquet"], 3, "no file matches"),
        (["corpus.text_column=body"], 3, "no column 'body' (corpus.text_column); the file has"),
        (["checkpoint.uri=/no/such/folder"], 3, "checkpoint.uri /no/such/folder"),
        (["corpus.uris=nosuch://a/b"], 2, "no storage for the scheme 'nosuch'"),
    ],
    ids=[
        "unknown key",
        "wrong type",
        "partition",
        "windows",
        "no files",
        "no column",
        "no checkpoint",
        "scheme",
    ],
)
def test_what_users_get_wrong_ends_before_ray_starts(tmp_path: Path, overrides: list[str], code: int, message: str):
    path = job_file(tmp_path / "job.yaml", job(tmp_path, f"corpus.uris={CORPUS}/test.parquet"))
    result = rookery("label", "--config", path, *(part for o in overrides for part in ("--set", o)))
    assert result.returncode == code
    # of a job file that is no job nobody can tell the table
    assert [json.loads(line)["exit_code"] for line in result.stdout.splitlines()] in ([], [code])
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "table").exists()


def test_a_table_that_can_t_be_written_ends_before_ray_starts(tmp_path: Path):
    """A dry run tells what there is to do, and tries nothing."""
    write_every_format(tmp_path / "corpus", documents(5))
    (tmp_path / "file").touch()
    for table in ("/proc/table", f"{tmp_path}/file/table"):
        settings = job(tmp_path, f"table.uri={table}")
        assert run_job(settings, dry_run=True) is None
        with pytest.raises(ConfigError, match=f"table.uri {table}: can't be written"):
            run_job(settings)


def test_the_plan_says_what_a_folder_holds_beside_the_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "corpus").mkdir()
    for name in ("a.jsonl", "README.md", "LICENSE", "b.sha256", "_c.jsonl"):
        (tmp_path / "corpus" / name).write_text('{"id": "a", "text": "b"}\n')
    run_job(job(tmp_path, f"corpus.uris={tmp_path}/corpus"), dry_run=True)
    shown = " ".join(capsys.readouterr().err.split())
    assert "1 file, 25 bytes" in shown
    assert "; 4 files left out: LICENSE, README.md, _c.jsonl, …" in shown


@pytest.mark.s3
def test_a_missing_bucket_ends_before_ray_starts(s3: S3Server, tmp_path: Path):
    settings = job(tmp_path, "corpus.uris=s3://no-such-bucket/x", f"storage.endpoint_url={s3.endpoint}")
    result = rookery("label", "--config", job_file(tmp_path / "job.yaml", settings), **s3.environment())
    assert (result.returncode, json.loads(result.stdout)["outcome"]) == (3, "failed")
    assert "s3://no-such-bucket: no such bucket" in result.stderr


@pytest.mark.s3
def test_refused_credentials_end_before_ray_starts(s3: S3Server, tmp_path: Path):
    if s3.kind == "moto":
        pytest.skip("moto believes any credentials")
    settings = job(tmp_path, f"corpus.uris=s3://{s3.new_bucket()}/x", f"storage.endpoint_url={s3.endpoint}")
    path = job_file(tmp_path / "job.yaml", settings)
    result = rookery("label", "--config", path, **(s3.environment() | {"AWS_SECRET_ACCESS_KEY": "wrong"}))
    assert (result.returncode, json.loads(result.stdout)["outcome"]) == (3, "failed")
    assert "access denied (SignatureDoesNotMatch); check AWS_SECRET_ACCESS_KEY" in result.stderr
