"""As much of a Delta table's log as a version needs, whatever checkpoints are there."""

from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.errors import CorpusError
from tests.corpus.delta_tables import pairs
from tests.corpus.lakes import documents, rows_of

CHECKPOINT = f"{2:020}.checkpoint.parquet"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Five versions, with a checkpoint at version 2."""
    for number in range(3):
        write_deltalake(tmp_path / "t", documents([number]), mode="append")
    DeltaTable(tmp_path / "t").create_checkpoint()
    for number in range(3, 5):
        write_deltalake(tmp_path / "t", documents([number]), mode="append")
    return tmp_path / "t" / "_delta_log"


def check_versions(log: Path, versions: range) -> None:
    for version in versions:
        uri = f"delta://{log.parent}@{version}"
        assert rows_of(uri) == [(f"d{n}", f"text {n} 0") for n in range(version + 1)]


def test_every_version_before_and_after_a_checkpoint(log: Path) -> None:
    check_versions(log, range(5))
    assert rows_of(log.parent) == pairs(DeltaTable(log.parent))


def test_versions_whose_commits_are_gone_are_refused(log: Path) -> None:
    for number in range(2):
        (log / f"{number:020}.json").unlink()
    check_versions(log, range(2, 5))
    with pytest.raises(CorpusError, match=r"lacks what version 1 needs \(commit 0,"):
        rows_of(f"delta://{log.parent}@1")


@pytest.mark.parametrize(
    "names",
    [
        [f"{2:020}.checkpoint.6fd9dd4c-0a4c-4bd4-9a3f-1a2a4a0a0a0a.parquet"],
        [CHECKPOINT, f"{3:020}.checkpoint.0000000001.0000000002.parquet"],
    ],
    ids=["by another name", "beside a part of one that was never ended"],
)
def test_checkpoints_of_other_kinds(log: Path, names: list[str]) -> None:
    """What the library writes for itself from the copy doesn't depend on them."""
    data = (log / CHECKPOINT).read_bytes()
    (log / CHECKPOINT).unlink()
    (log / "_last_checkpoint").unlink()
    for name in names:
        (log / name).write_bytes(data)
    (log / f"{0:020}.json").unlink()
    check_versions(log, range(2, 5))
