"""What the doctor finds of the store of a table, on a real S3 server, on a disk, and on stores that lie."""

import time
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from botocore import auth
from fsspec.implementations.memory import MemoryFileSystem

from jobs.checks.examination import examine
from jobs.checks.table_store import STORE_ADVICE, table_checks
from jobs.finding import Finding
from pipeline.config.label import parse_job
from pipeline.storage.objects import Storage
from pipeline.storage.s3 import S3
from tests.s3 import S3Server, free_ports


def findings(table: str, *overrides: str) -> dict[str, Finding]:
    job = parse_job("", ["corpus.uris=x", "checkpoint.uri=y", f"table.uri={table}", "storage.retry=0.5", *overrides])
    return {finding.subject: finding for finding in examine(table_checks([job], Storage(job.storage)))}


def states(found: dict[str, Finding]) -> dict[str, str]:
    return {subject: finding.state for subject, finding in found.items()}


WELL = dict.fromkeys(["table.uri", "put if absent", "listing", "clock", "deleting"], "ok")


@pytest.mark.s3
def test_a_store_that_is_well_is_left_as_it_was(s3: S3Server):
    bucket = s3.new_bucket()
    s3.filesystem().pipe_file(f"{bucket}/topics/_latest.json", b"{}")
    assert states(findings(f"s3://{bucket}/topics", f"storage.endpoint_url={s3.endpoint}")) == WELL
    assert s3.filesystem().find(bucket) == [f"{bucket}/topics/_latest.json"]


@pytest.mark.s3
@pytest.mark.parametrize(
    ("variable", "value", "seen"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "access denied (SignatureDoesNotMatch)"),
        ("AWS_ACCESS_KEY_ID", "nobody", "access denied (InvalidAccessKeyId)"),
    ],
)
def test_wrong_keys(s3: S3Server, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, seen: str):
    if s3.kind != "ceph":
        pytest.skip("moto checks no credentials")
    monkeypatch.setenv(variable, value)
    (finding,) = findings(f"s3://{s3.new_bucket()}/topics", f"storage.endpoint_url={s3.endpoint}").values()
    assert finding.state == "failure"
    assert seen in finding.seen
    assert variable in finding.advice


@pytest.mark.s3
def test_somebody_who_may_not_write_and_somebody_without_credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    if s3.kind != "ceph":
        pytest.skip("moto checks no credentials")
    s3.new_user("doctors-stranger", "secret")
    bucket = s3.new_bucket()
    endpoint = f"storage.endpoint_url={s3.endpoint}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "doctors-stranger")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (finding,) = findings(f"s3://{bucket}/topics", endpoint).values()
    assert "access denied (AccessDenied)" in finding.seen
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    S3.clear_instance_cache()
    (finding,) = findings(f"s3://{bucket}/topics", endpoint).values()
    assert finding.advice == "set the AWS variables, a profile (storage.profile) or storage.anonymous"


@pytest.mark.s3
def test_a_bucket_that_is_not_there(s3: S3Server):
    (finding,) = findings("s3://no-such-bucket-at-all/topics", f"storage.endpoint_url={s3.endpoint}").values()
    assert "s3://no-such-bucket-at-all: no such bucket" in finding.seen
    assert finding.advice.startswith("check the name and the endpoint")


@pytest.mark.s3
def test_a_clock_that_is_off_is_named(s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    table, endpoint = f"s3://{s3.new_bucket()}/topics", f"storage.endpoint_url={s3.endpoint}"
    now, clock = time.time, auth.get_current_datetime
    monkeypatch.setattr("jobs.checks.table_store.time.time", lambda: now() - 300)
    skewed = findings(table, endpoint)
    assert states(skewed) == WELL | {"clock": "warning"}
    assert skewed["clock"].seen in (
        "the store's is 300 s ahead of this machine's",
        "the store's is 299 s ahead of this machine's",
    )
    if s3.kind == "ceph":  # which refuses what was signed at another time
        monkeypatch.setattr(auth, "get_current_datetime", lambda *given: clock(*given).replace(year=2020))
        (refused,) = findings(table, endpoint).values()
        assert "RequestTimeTooSkewed" in refused.seen
        assert "clock" in refused.advice


def test_a_store_where_nobody_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    (port,) = free_ports(1)
    started = time.monotonic()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    (finding,) = findings("s3://bucket/topics", f"storage.endpoint_url=http://127.0.0.1:{port}").values()
    assert time.monotonic() - started < 20
    assert (finding.state, finding.advice) == ("failure", STORE_ADVICE)


def test_a_folder_of_a_disk_is_not_made_for_it(tmp_path: Path):
    assert states(findings(str(tmp_path / "later/table"))) == WELL
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "table").mkdir()
    assert states(findings(str(tmp_path / "table"))) == WELL
    assert list((tmp_path / "table").iterdir()) == []


def test_a_place_that_can_not_be_written():
    (finding,) = findings("/proc/1/table").values()  # for root too
    assert finding.seen.startswith("table.uri /proc/1/table: can't be written")
    assert finding.advice == "name one that can, or make it so"


def test_a_table_inside_its_corpus(tmp_path: Path):
    (finding,) = findings(str(tmp_path / "table"), f"corpus.uris={tmp_path}").values()
    assert "its files would be read as documents" in finding.seen


class Forgetful(MemoryFileSystem):  # type: ignore[misc]
    """Puts whatever is there, shows no object that is new, and deletes none."""

    protocol = "forgetful"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        super().pipe_file(path, value, mode="overwrite", **options)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        return []

    def rm_file(self, path: str) -> None:
        raise PermissionError("not allowed to delete")


def test_a_store_that_keeps_none_of_its_promises():
    fsspec.register_implementation("forgetful", Forgetful, clobber=True)
    found = findings("forgetful://bucket/table")
    assert states(found) == WELL | {"put if absent": "failure", "listing": "failure", "deleting": "warning"}
    assert "If-None-Match" in found["put if absent"].advice
    assert "s3:DeleteObject" in found["deleting"].advice


def test_lake_tables_are_reached_one_by_one(tmp_path: Path):
    iceberg = [f"publish.iceberg.properties={{uri: 'sqlite:///{tmp_path}/none/catalog.db', warehouse: {tmp_path}}}"]
    found = findings(
        str(tmp_path / "table"), "publish.iceberg.table=a.b", *iceberg, f"publish.delta.uri={tmp_path}/delta"
    )
    assert found["publish"].seen == f"Delta table {tmp_path}/delta can be reached"
