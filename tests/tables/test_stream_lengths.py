from pathlib import Path

import pytest

from pipeline.config.label import StorageSettings
from pipeline.storage.objects import Storage
from pipeline.tables.stream_lengths import StreamLengths
from tests.s3 import S3Server


def test_nothing_is_known_of_a_new_table(tmp_path: Path):
    assert StreamLengths(Storage(), f"{tmp_path}/table").read() == {}


def test_what_was_written_is_known(tmp_path: Path):
    cuts = StreamLengths(Storage(), f"{tmp_path}/table/")
    cuts.write("ab12", 3)
    cuts.write("cd34", 0)
    cuts.write("ab12", 3)
    assert cuts.read() == {"ab12": 3, "cd34": 0}
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"table/_units/cuts/ab/ab12-3", "table/_units/cuts/cd/cd34-0"}


def test_the_longest_of_two_readings_counts(tmp_path: Path):
    cuts = StreamLengths(Storage(), f"{tmp_path}/table")
    for parts in (3, 11, 2):
        cuts.write("ab12", parts)
    assert cuts.read() == {"ab12": 11}


def test_other_names_are_no_cuts(tmp_path: Path):
    folder = tmp_path / "table" / "_units" / "cuts" / "ab"
    folder.mkdir(parents=True)
    for name in (".rookery-x2", "ab12-", "ab12", "ab12-3x"):
        (folder / name).touch()
    assert StreamLengths(Storage(), f"{tmp_path}/table").read() == {}


@pytest.mark.s3
def test_on_s3(s3: S3Server):
    cuts = StreamLengths(Storage(StorageSettings(endpoint_url=s3.endpoint)), f"s3://{s3.new_bucket()}/table")
    cuts.write("ab12", 3)
    cuts.write("ab12", 3)
    assert cuts.read() == {"ab12": 3}
