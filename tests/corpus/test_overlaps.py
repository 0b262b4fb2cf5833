"""Whether what a job writes can be taken for a document by what it reads."""

from pathlib import Path

import pytest

from pipeline.config.corpus import CorpusSettings
from pipeline.config.label import CheckpointSettings
from pipeline.corpus.overlaps import check_apart
from pipeline.errors import ConfigError
from tests.corpus.files import STORAGE, put


def corpus(uri: str) -> dict[str, CorpusSettings | None]:
    return {"corpus.uris": CorpusSettings(uris=(uri,)), "test.uris": None}


@pytest.mark.parametrize(
    ("uri", "table", "meet"),
    [
        ("s3://b/corpus", "s3://b/corpus", True),
        ("s3://b/corpus", "s3://b/corpus/table", True),
        ("s3://b/corpus/", "s3a://b/corpus/deep/table/", True),
        ("s3://b/corpus", "s3://b", True),
        ("s3://b", "s3://b/table", True),
        ("s3://b/corpus/day=1", "s3://b/corpus", True),
        ("s3://b/corpus/a.jsonl", "s3://b/corpus", True),
        ("s3://b/corpus", "s3://b/corpus-table", False),
        ("s3://b/corpus", "s3://b/table", False),
        ("s3://b/corpus", "s3://c/corpus/table", False),
        ("s3://b/corpus", "s3://b/corpus/../table", True),  # no store knows `..`
        ("s3://b/corpus", "/b/corpus", False),
        ("s3://b/corpus/a.jsonl", "s3://b/corpus/table", False),
        ("s3://b/corpus/*.parquet", "s3://b/corpus/table", False),
        ("s3://b/corpus/*.parquet", "s3://b/corpus", True),
        ("s3://b/corpus/*/*.parquet", "s3://b/corpus/table", True),
        ("s3://b/corpus/day=*/*.parquet", "s3://b/corpus/table", False),
        ("s3://b/corpus/day=?/*.parquet", "s3://b/corpus/day=1/table", False),
        ("s3://b/corpus/**", "s3://b/corpus/table", True),
        ("s3://b/corpus/**/*.parquet", "s3://b/corpus/deep/table", True),
        ("s3://b/c*/**/*.parquet", "s3://b/corpus/table", True),
        ("s3://b/[cd]orpus/x/*.parquet", "s3://b/dorpus", True),
        ("s3://b/corpus/t*", "s3://b/corpus/table", False),  # files alone are matched
        ("s3://b/**/*.parquet", "s3://b", True),
        ("{}/corpus", "{}/corpus/table", True),
        ("file://{}/corpus", "{}/corpus/table", True),
        ("{}/corpus", "{}/corpus/../table", False),
        ("{}/corpus", "{}/x/../corpus/table", True),
        ("{}/link", "{}/corpus/table", True),
        ("{}/corpus", "{}/link/table", True),
        ("{}/link/**/*.jsonl", "{}/corpus/table", True),
        ("{}/corpus/*.jsonl", "{}/link/table", False),
        ("/", "{}/table", True),
        ("{}/[x]", "{}/[x]/table", True),
    ],
)
def test_where_the_table_may_be(tmp_path: Path, uri: str, table: str, meet: bool) -> None:
    put(tmp_path / "corpus/a.jsonl")
    (tmp_path / "link").symlink_to(tmp_path / "corpus")
    uri, table = uri.format(tmp_path), table.format(tmp_path)
    if not meet:
        check_apart(STORAGE, corpus(uri), {"table.uri": table}, None)
        return
    with pytest.raises(ConfigError) as said:
        check_apart(STORAGE, corpus(uri), {"table.uri": table}, None)
    assert f"table.uri {table}: lies where corpus.uris {uri} finds documents" in str(said.value)


@pytest.mark.parametrize(
    ("uri", "checkpoint", "message"),
    [
        ("s3://b/x", "s3://b/x/checkpoint", "checkpoint.uri s3://b/x/checkpoint: lies where"),
        ("s3://b/x/*.json", "s3://b/x", "checkpoint.uri s3://b/x: lies where"),
        ("s3://b/x/*.csv", "s3://b/x/checkpoint", ""),
        ("s3://b/checkpoint/data", "s3://b/checkpoint", ""),  # as a hub's repository may hold both
        ("/", "s3://b/checkpoint", "the cache of checkpoints .*: lies where"),
        ("/", "somebody/model", ""),
    ],
)
def test_where_the_checkpoint_may_be(uri: str, checkpoint: str, message: str) -> None:
    settings = CheckpointSettings(uri=checkpoint)
    if message:
        with pytest.raises(ConfigError, match=message):
            check_apart(STORAGE, corpus(uri), {}, settings)
    else:
        check_apart(STORAGE, corpus(uri), {}, settings)
