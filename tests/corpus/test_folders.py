"""What a URI of the corpus may lead to, a line a kind: which files are taken, which are left out, or why it is refused."""

import os
from pathlib import Path
from typing import Any

import pytest
import s3fs

from pipeline.config.corpus import CorpusSettings
from pipeline.config.label import StorageSettings
from pipeline.corpus.files import Corpus, discover
from pipeline.errors import ConfigError, CorpusError, RookeryError
from pipeline.storage.objects import Storage
from tests.corpus.files import STORAGE, put
from tests.s3 import S3Server

ICEBERG = "t/metadata/00001-0b6f1c52-9d6c.metadata.json"


def case(title: str, there: str, taken: str, left_out: str = "", *, uri: str = "", **settings: Any) -> Any:
    """`there`: names of files; `taken`: those found, or after a `!` what the refusal says."""
    return pytest.param(uri, settings, there.split(), taken, left_out.split(), id=title)


KINDS = [
    # one format
    case("a hub's data set", "data/train-0.parquet README.md", "data/train-0.parquet", "README.md"),
    case("a card, a licence, check sums", "a.jsonl README.md LICENSE SHA256SUMS a.sha256 p.png",
         "a.jsonl", "README.md LICENSE SHA256SUMS a.sha256 p.png"),
    case("a loader's description", "a.jsonl dataset_infos.json dataset_dict.json", "a.jsonl", "dataset_infos.json dataset_dict.json"),
    case("a loading script", "a.csv dataset.py requirements.txt", "a.csv", "dataset.py requirements.txt"),
    case("texts alone", "a.txt b.md c/README.md LICENSE", "a.txt b.md c/README.md", "LICENSE"),
    case("one format, many endings", "a.JSONL.GZ b.ndjson c.json d.jsonl.zst", "a.JSONL.GZ b.ndjson c.json d.jsonl.zst"),
    case("endings in capitals", "A.PARQUET b.Pq", "A.PARQUET b.Pq"),
    case("two data formats", "a.parquet b.parquet c.csv", r"!has 2 Parquet files \(a.parquet\) and 1 CSV file \(c.csv\).* such as .*/\*\*/\*\.parquet"),
    case("packed beside plain of another", "x/a.csv.gz y/b.jsonl", r"!1 JSON file \(b.jsonl\) and 1 CSV file \(a.csv.gz\)"),
    case("an ending that nobody knows", "a.parquet b.avro", r"!has 1 Parquet file \(a.parquet\) and 1 file \(b.avro\) whose format the ending doesn't tell"),
    case("a compression that nobody reads", "a.jsonl b.jsonl.lz4", r"!1 JSON file \(a.jsonl\) and 1 file \(b.jsonl.lz4\)"),
    case("Spark's text, beside JSON", "a.json part-00000", r"!1 file \(part-00000\)"),
    case("saved by datasets", "data-0.arrow dataset_info.json state.json", r"!1 file \(data-0.arrow\)"),
    case("nothing but beside things", "a.pdf LICENSE", r"!no file matches.*2 left out"),
    case("nothing known", "a.avro", "!a.avro: can't tell the format from the ending"),
    case("an empty folder of markers", "_SUCCESS", "!no file matches"),
    # declared
    case("declared, among others", "a.parquet b.csv README.md", "b.csv", "a.parquet README.md", format="csv"),
    case("declared text beside data", "a.parquet README.md", "README.md", "a.parquet", format="text"),
    case("declared, not one has the ending", "part-00000 part-00001.log", "part-00000 part-00001.log", format="jsonl"),
    case("declared, some have the ending", "a.jsonl b.log", r"!1 JSON file \(a.jsonl\) and 1 file \(b.log\)", format="jsonl"),
    # patterns ask for what they match
    case("a pattern takes all that it matches", "a.parquet b.csv c/README.md", "a.parquet b.csv c/README.md", uri="**/*"),
    case("a pattern and an unknown ending", "a.parquet LICENSE", "!LICENSE: can't tell the format", uri="*"),
    case("two stars within a name", "a.parquet", r"!write \*\*/\*.parquet for \*\*.parquet", uri="**.parquet"),
    case("a folder with the name of a pattern", "[a]/x.csv [a]/y.md a/z.csv", "[a]/x.csv", "[a]/y.md", uri="[a]"),
    case("a file is itself", "a.md b.parquet", "a.md", uri="a.md"),
    # hidden
    case("hidden data are said", "a.jsonl _old/b.jsonl .c.jsonl _SUCCESS .a.jsonl.crc", "a.jsonl", "_old/b.jsonl .c.jsonl"),
    case("hidden data are said of a pattern", "a.jsonl _old/b.jsonl", "a.jsonl", "_old/b.jsonl", uri="**/*.jsonl"),
    case("a sidecar of Parquet", "a.parquet _metadata _common_metadata", "a.parquet"),
    # tables of other systems
    case("Iceberg", f"t/data/a.parquet {ICEBERG}", "!/t belongs to a table of Iceberg", uri="t"),
    case("Iceberg, by its data", f"t/data/a.parquet {ICEBERG}", "!/t belongs to a table of Iceberg", uri="t/data"),
    case("Iceberg, by its data's partition", f"t/data/d=1/a.parquet {ICEBERG}", "!/t belongs to a table of Iceberg", uri="t/data/d=1"),
    case("Iceberg, by a pattern", f"t/data/a.parquet {ICEBERG}", "!/t belongs to a table of Iceberg", uri="t/data/**/*.parquet"),
    case("Iceberg, by a file", f"t/data/a.parquet {ICEBERG}", "!/t belongs to a table of Iceberg", uri="t/data/a.parquet"),
    case("Iceberg of Hadoop, packed", "t/data/a.parquet t/metadata/v3.gz.metadata.json", "!of Iceberg", uri="t"),
    case("metadata of no Iceberg", "data/a.jsonl metadata/a.metadata.json", "data/a.jsonl metadata/a.metadata.json"),
    case("Hudi", "t/a.parquet t/.hoodie/hoodie.properties", "!/t belongs to a table of Hudi", uri="t"),
    case("Hudi, inside", "t/2024/01/a.parquet t/2024/01/.hoodie_partition_metadata", "!table of Hudi", uri="t/2024/01"),
    case("Paimon", "t/bucket-0/a.parquet t/schema/schema-0", "!/t belongs to a table of Paimon", uri="t"),
    case("a folder that holds tables", "lake/x/a.parquet lake/x/_delta_log/0.json lake/b.parquet", "!lake/x belongs to a table of Delta", uri="lake"),
    case("Delta, by a partition", "t/d=1/e=2/a.parquet t/_delta_log/0.json", "!/t belongs to a table of Delta", uri="t/d=1/e=2"),
    case("Delta, by a pattern for one", "t/d=1/a.parquet t/_delta_log/0.json", "!/t belongs to a table of Delta", uri="t/d=*/*.parquet"),
    case("Delta, by a file", "t/a.parquet t/_delta_log/0.json", "!/t belongs to a table of Delta", uri="t/a.parquet"),
    case("beside a table", "lake/x/a.parquet lake/x/_delta_log/0.json lake/b.parquet", "lake/b.parquet", uri="lake/*.parquet"),
    # hive keys
    case("the same key twice", "k=a/k=b/x.jsonl", "!has the hive key 'k' twice, as 'a' and as 'b'"),
    case("a key that is not there", "k=a/x.jsonl", r"!corpus.carry 'z': the corpus has no such hive key; found \['k'\]", carry="z"),
    case("a key in another case", "k=a/x.jsonl", r"!corpus.carry 'K': the corpus has no such hive key; found \['k'\]", carry="K"),
    case("no key at all", "x.jsonl", "!corpus.carry 'k': the corpus has no such hive key; found none", carry="k"),
]  # fmt: skip


def shown(corpus: Corpus, root: str) -> tuple[list[str], list[str]]:
    return (
        [file.uri.removeprefix(root) for file in corpus.files],
        [uri.removeprefix(root) for uri in corpus.left_out],
    )


def settings(root: str, uri: str, more: dict[str, Any]) -> CorpusSettings:
    return CorpusSettings.model_validate({"uris": f"{root}{uri}", **more})


@pytest.mark.parametrize(("uri", "more", "there", "taken", "left_out"), KINDS)
def test_what_a_folder_may_hold(
    tmp_path: Path,
    uri: str,
    more: dict[str, Any],
    there: list[str],
    taken: str,
    left_out: list[str],
) -> None:
    for name in there:
        put(tmp_path / "corpus" / name)
    corpus = settings(f"{tmp_path}/corpus/", uri, more)
    if taken.startswith("!"):
        with pytest.raises((CorpusError, ConfigError), match=taken[1:]):
            discover(STORAGE, corpus)
    else:
        found = discover(STORAGE, corpus)
        assert shown(found, f"file://{tmp_path}/corpus/") == (
            sorted(taken.split()),
            sorted(left_out),
        )


@pytest.mark.s3
def test_what_a_folder_may_hold_on_s3(s3: S3Server) -> None:
    """Those kinds of which a URI names a part: none is decided by the disk."""
    storage, bucket = Storage(StorageSettings(endpoint_url=s3.endpoint)), s3.new_bucket()
    filesystem = s3.filesystem()
    for number, kind in enumerate(kind for kind in KINDS if kind.values[0]):
        uri, more, there, taken, left_out = kind.values
        for name in there:
            filesystem.pipe_file(f"{bucket}/{number}/{name}", b"{}")
        root = f"s3://{bucket}/{number}/"
        corpus = settings(root, uri, more)
        if taken.startswith("!"):
            with pytest.raises((CorpusError, ConfigError), match=taken[1:]):
                discover(storage, corpus)
        else:
            expected = sorted(taken.split()), sorted(left_out)
            assert shown(discover(storage, corpus), root) == expected, kind.id


def link_to_folder(corpus: Path) -> None:
    put(corpus.parent / "elsewhere/b.jsonl")
    (corpus / "more").symlink_to(corpus.parent / "elsewhere")


def link_to_nothing(corpus: Path) -> None:
    (corpus / "b.jsonl").symlink_to(corpus / "gone.jsonl")


def link_to_itself(corpus: Path) -> None:
    (corpus / "b.jsonl").symlink_to(corpus / "b.jsonl")


def pipe(corpus: Path) -> None:
    os.mkfifo(corpus / "b.jsonl")


@pytest.mark.parametrize("make", [link_to_folder, link_to_nothing, link_to_itself, pipe])
def test_what_a_walk_passes_by_is_refused(tmp_path: Path, make: Any) -> None:
    put(tmp_path / "corpus/a.jsonl")
    make(tmp_path / "corpus")
    for uri in ("", "/**/*.jsonl"):
        with pytest.raises(CorpusError, match=r"corpus/(b\.jsonl|more) is a link to a folder or"):
            discover(STORAGE, settings(f"{tmp_path}/corpus", uri, {}))
    assert len(discover(STORAGE, settings(f"{tmp_path}/corpus", "/a*.jsonl", {})).files) == 1


def test_a_link_to_a_file_and_a_linked_folder_that_is_named_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "blobs/0")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").symlink_to(tmp_path / "blobs/0")
    (tmp_path / "corpus/.#lock").symlink_to("nobody@nowhere")  # an editor's, hidden
    (tmp_path / "link").symlink_to(tmp_path / "corpus")
    found = discover(STORAGE, settings(f"{tmp_path}/link", "", {}))
    assert shown(found, f"file://{tmp_path}/link/") == (["a.jsonl"], [])


@pytest.mark.parametrize(
    ("uri", "code"),
    [("x" * 300, 3), ("a.jsonl/b", 3), ("loop/a", 3), ("a\0b", 2), ("s3://", 2), ("s3://No Bucket/x", 2)],
    ids=["too long", "below a file", "loop", "NUL", "no bucket", "a bucket's name that can't be"],
)  # fmt: skip
def test_what_no_place_can_be_called_is_no_failure_of_the_store(tmp_path: Path, uri: str, code: int) -> None:
    put(tmp_path / "a.jsonl")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(RookeryError) as raised:
        discover(STORAGE, settings("" if "://" in uri else f"{tmp_path}/", uri, {}))
    assert raised.value.exit_code == code


def test_several_uris_each_of_their_own_format(tmp_path: Path) -> None:
    """A file that one URI leaves out and another names is taken."""
    for name in ("a/x.parquet", "a/README.md", "b/y.csv", "b/NOTES.md"):
        put(tmp_path / name)
    uris = [f"{tmp_path}/{name}" for name in ("a", "b", "a/README.md", "a/x.parquet")]
    found = discover(STORAGE, CorpusSettings(uris=tuple(uris)))
    assert shown(found, f"file://{tmp_path}/") == (
        ["a/README.md", "a/x.parquet", "b/y.csv"],
        ["b/NOTES.md"],
    )


@pytest.mark.s3
def test_two_more_listings_at_most_where_a_uri_may_be_a_table_or_point_into_one(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, bucket = Storage(StorageSettings(endpoint_url=s3.endpoint)), s3.new_bucket()
    for name in ("x/a.parquet", "d=1/e=2/a.parquet"):
        s3.filesystem().pipe_file(f"{bucket}/{name}", b"{}")
    sent: list[str] = []
    really = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
        sent.append(method)
        return await really(self, method, *arguments, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    discover(storage, settings(f"s3://{bucket}/", "x", {}))
    assert sent == ["list_objects_v2"] * 2
    sent.clear()
    discover(storage, settings(f"s3://{bucket}/", "d=1/e=2", {}))
    assert sent == ["list_objects_v2"] * 3
