"""Bad input of every kind in one corpus: each document ends in one row, and none costs a neighbour its own."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import zstandard
from safetensors.torch import load_file, save_file

from jobs.label import run_job
from jobs.sample import CHECKPOINT
from pipeline.config.label import Job, parse_job
from pipeline.errors import CheckpointError, ErrorBudgetError
from pipeline.planning.plan import Plan, make_plan
from pipeline.tables.publish import publish
from pipeline.text.tokenizer import Tokenizer
from tests.labelling import label_here

ROOT = Path(__file__).parent.parent.parent
GOOD = "A proposal to let the scheduler assign pods to nodes."
AWKWARD = {
    "nul": "before\0after",
    "only nul": "\0\0",
    "rtl": "מבוא: הצעה לשינוי. مقدمة: اقتراح \u202eabc\u202c",
    "combining": "e\u0301\u0323\u0308" * 50 + "\u0301",
    "one": "x",
    "one-wide": "字",
    "emoji": "👩‍👩‍👧",
    "control": "[CLS] [SEP] </s> <pad>",
    "no blank": "x" * 20_000,
}
Error = tuple[str, int, str]  # file, position, reason


def job(folder: Path, *overrides: str) -> Job:
    settings = [
        f"corpus.uris={folder}/corpus/**",
        "corpus.id_column=id",
        f"checkpoint.uri={CHECKPOINT}",
        f"table.uri={folder}/table",
        "compute.dtype=fp32",
        "max_errors=100%",
    ]
    return parse_job("", [*settings, *overrides])


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def line(id_: object, text: object) -> bytes:
    return json.dumps({"id": id_, "text": text}).encode() + b"\n"


def fragment_rows(planned: Plan) -> dict[str, dict[str, Any]]:
    label_here(planned, threads=2)
    tables = planned.fragments.read(list(planned.cut_streams().unit_ids))
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def write_bad_corpus(corpus: Path) -> tuple[list[str], list[Error]]:
    """Writes files with something wrong of every kind; returns the ids to be labelled and the errors to be told."""
    expected: list[str] = []
    errors: list[Error] = []

    def add(name: str, data: bytes, good: list[str], bad: list[tuple[int, str]]) -> None:
        put(corpus / name, data)
        expected.extend(good)
        errors.extend((f"file://{corpus}/{name}", position, reason) for position, reason in bad)

    bad_lines = [
        (line("null", None), "null_text"),
        (line("empty", ""), "empty_text"),
        (line("blank", " \n\t\u00a0\u2003"), "empty_text"),
        (line(None, GOOD), "null_id"),
        (b'{"id": "bytes", "text": "\xff\xfe"}\n', "invalid_utf8"),
        (rb'{"id": "surrogate", "text": "\ud800"}' + b"\n", "invalid_utf8"),
        (b"[1, 2]\n", "not_an_object"),
        (b'{"id": "cut", "text": "\n', "invalid_json"),
        (b'{"id": "number", "text": 7}\n', "not_a_string"),
        (b'{"id": "other", "body": "x"}\n', "no_column"),
    ]
    lines = [line(id_, text) for id_, text in AWKWARD.items()]
    starts, data = [], b"".join(lines)
    for bad, reason in bad_lines:
        starts.append((len(data), reason))
        data += bad + line(f"after {len(starts)}", GOOD)
    after = [f"after {n + 1}" for n in range(len(bad_lines))]
    add("lang=a%2Fb/documents.jsonl", data, [*AWKWARD, *after], starts)

    add("lang=../same 1.jsonl", line("same", GOOD) + line("same", "other"), ["same"] * 2, [])
    add("lang=../same 2.jsonl", line("same", GOOD), ["same"], [])
    add("lang=../other.jsonl", b'{"title": "x"}\n', [], [(0, "no_column")])

    rows = b'id,text\nc1,a b\nc2\nc3,c,d\nc4,"e"f\nc5,g\n'
    ragged = [(1, "ragged_row"), (2, "ragged_row"), (3, "invalid_csv")]
    add("lang=x y/100%25 %41=é..::b.csv", rows, ["c1", "c5"], ragged)

    members = gzip.compress(line("g1", GOOD) + line("g2", GOOD))
    add("lang=日本/cut.jsonl.gz", members + gzip.compress(line("g3", GOOD))[:-12], ["g1", "g2"], [(2, "damaged_file")])
    frames = zstandard.compress(line("z1", GOOD))
    add("lang=日本/cut.jsonl.zst", frames + zstandard.compress(line("z2", GOOD))[:-3], ["z1"], [(1, "damaged_file")])
    bomb = zstandard.compress(line("b1", GOOD) + bytes(300 * 2**20) + b"\n" + line("b2", GOOD))
    add("lang=日本/bomb.jsonl.zst", bomb, ["b1", "b2"], [(1, "too_large")])

    add("lang=50%/empty.txt", b"", [], [(0, "empty_text")])
    add("lang=50%/latin-1.txt", "größe".encode("latin-1"), [], [(0, "invalid_utf8")])
    add("lang=50%/good.txt", GOOD.encode(), [f"file://{corpus}/lang=50%/good.txt"], [])

    columns = {"id": [f"p{n}" for n in range(6)], "text": [f"{GOOD} {n}" for n in range(6)]}
    pq.write_table(pa.table(columns), corpus / "parquet", row_group_size=2, use_dictionary=False)
    whole = (corpus / "parquet").read_bytes()
    page = pq.read_metadata(corpus / "parquet").row_group(1).column(1).data_page_offset
    (corpus / "parquet").unlink()
    add(
        "lang=50%/page.parquet",
        whole[:page] + b"\xff" * 20 + whole[page + 20 :],
        ["p0", "p1", "p4", "p5"],
        [(2, "damaged_file"), (3, "damaged_file")],
    )
    add("footer.parquet", whole[:-20] + b"\xff" * 12 + whole[-8:], [], [(0, "damaged_file")])
    pq.write_table(pa.table({"body": ["a", "b"]}), corpus / "other.parquet")
    errors.extend((f"file://{corpus}/other.parquet", n, "no_column") for n in range(2))
    return expected, errors


@pytest.mark.ray
def test_each_document_ends_in_one_row_and_costs_no_neighbour(
    ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    expected, errors = write_bad_corpus(tmp_path / "corpus")
    manifest = run_job(job(tmp_path, "table.partition_by=[lang]", "corpus.duplicate_ids=keep"))
    assert manifest is not None
    assert manifest.counts["documents"] == len(expected) + len(errors)
    shown = " ".join(capsys.readouterr().err.split())
    assert f"this run {len(expected) + len(errors)} documents in {manifest.counts['units']} units: " in shown
    assert f"units: {len(expected)} predictions, {len(errors)} errors" in shown

    def rows(kind: str, columns: str) -> list[tuple[Any, ...]]:
        glob = f"{tmp_path}/table/{kind}/**/*.parquet"
        options = "hive_partitioning = true, hive_types_autocast = false"
        found = duckdb.sql(f"select {columns} from read_parquet('{glob}', {options})")
        return [tuple(row) for row in found.fetchall()]

    assert sorted(id_ for (id_,) in rows("data", "id")) == sorted(expected)
    told = rows("errors", "source_uri, source_position, reason")
    assert sorted(told) == sorted(errors)
    assert all(stage and message for stage, message in rows("errors", "stage, message"))
    languages = {language for (language,) in rows("data", "lang")}
    assert languages == {"a/b", "..", "x y", "日本", "50%"}
    pointers = rows("data", "id, source_uri, source_position")
    assert len(set(pointers)) == len(expected), "two documents of one id are not told apart"
    assert not list(tmp_path.rglob("escaped"))
    assert {path.name for path in tmp_path.iterdir()} == {"corpus", "table"}


def test_a_file_that_was_repaired_is_labelled_by_the_next_run(tmp_path: Path):
    whole = gzip.compress(line("a", GOOD) + line("b", GOOD))
    put(tmp_path / "corpus" / "cut.jsonl.gz", whole[:-10])
    put(tmp_path / "corpus" / "good.jsonl", line("c", GOOD))
    broken = make_plan(job(tmp_path))
    label_here(broken, threads=2)
    broken = broken.cut_streams()
    first = publish(broken.snapshots, broken.fragments, broken.publication, {})
    assert first.counts["errors"] > 0

    put(tmp_path / "corpus" / "cut.jsonl.gz", whole)
    repaired = make_plan(job(tmp_path))
    assert [unit.file.uri.rpartition("/")[2] for _, unit in repaired.missing] == ["cut.jsonl.gz"]
    label_here(repaired, threads=2)
    repaired = repaired.cut_streams()
    second = publish(repaired.snapshots, repaired.fragments, repaired.publication, {})
    assert (second.counts["predictions"], second.counts["errors"]) == (3, 0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "checkpoint"))


def change_weights(checkpoint: Path, name: str, row: int | slice, value: float | torch.Tensor) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    tensors = {key: tensor.float() for key, tensor in tensors.items()}  # fp16 has no 1e38
    tensors[name][row] = value
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})


WORDS = "bert.embeddings.word_embeddings.weight"


def test_a_word_that_gives_nan_costs_its_documents_only(tmp_path: Path, checkpoint: Path):
    """All in one pack: a NaN must not reach the windows that are computed beside it."""
    texts = {"a": GOOD, "b": f"{GOOD} zebra", "c": "x", "d": f"zebra {GOOD * 200}", "e": GOOD * 300}
    lines = b"".join(line(id_, text) for id_, text in texts.items())
    put(tmp_path / "corpus" / "a.jsonl", lines)
    healthy = fragment_rows(make_plan(job(tmp_path, f"checkpoint.uri={checkpoint}")))

    tokens = {
        id_: set(ids.tolist())
        for id_, ids in zip(
            texts,
            Tokenizer.load(checkpoint / "spiece.model", None).encode(list(texts.values())),
            strict=True,
        )
    }
    poison = min(tokens["b"] - tokens["a"] - tokens["c"] - tokens["e"])
    assert poison in tokens["d"]
    # finite, as a checkpoint's weights must be, but the norm's differences from their mean are not
    huge = torch.finfo().max * torch.tensor([1.0, -1.0]).repeat(64)
    change_weights(checkpoint, WORDS, poison, huge)
    found = fragment_rows(make_plan(job(tmp_path, f"checkpoint.uri={checkpoint}")))
    assert {id_: row["reason"] for id_, row in found.items()} == {
        "a": None,
        "b": "not_finite",
        "c": None,
        "d": "not_finite",
        "e": None,
    }
    for id_ in "ace":
        assert np.array_equal(found[id_]["logits"], healthy[id_]["logits"])


def test_a_checkpoint_that_gives_no_numbers_labels_nothing(tmp_path: Path, checkpoint: Path):
    put(tmp_path / "corpus" / "a.jsonl", line("a", GOOD) + line("b", "x") + line("c", None))
    change_weights(checkpoint, "classifier.dense.weight", slice(None), 1e38)
    change_weights(checkpoint, "classifier.out_proj.weight", slice(None), 1e38)
    planned = make_plan(job(tmp_path, f"checkpoint.uri={checkpoint}"))
    found = fragment_rows(planned)
    assert {id_: row["reason"] for id_, row in found.items()} == {
        "a": "not_finite",
        "b": "not_finite",
        "c": "null_text",
    }
    with pytest.raises(ErrorBudgetError, match="not one of 3 documents could be labelled") as said:
        publish(planned.snapshots, planned.fragments, planned.publication, {})
    assert "not_finite (predict) 2" in str(said.value)
    assert planned.snapshots.published() == []


def lose_a_tensor(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    del tensors["classifier.out_proj.bias"]
    save_file(tensors, checkpoint / "model.safetensors")


def gain_a_tensor(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    save_file(tensors | {"bert.adapter": torch.zeros(1)}, checkpoint / "model.safetensors")


def label_too_many(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["id2label"]["99"] = "surplus"
    (checkpoint / "config.json").write_text(json.dumps(config))


def relabel(checkpoint: Path) -> None:
    (checkpoint / "rookery.json").write_text(json.dumps({"labels": ["one", "two"]}))


def as_pickle(checkpoint: Path) -> None:
    """A whole model instead of a state dict: what unpickling runs is up to the file."""
    (checkpoint / "model.safetensors").unlink()
    torch.save(torch.nn.Linear(1, 1), checkpoint / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_a_tensor, "missing: classifier.out_proj.bias; not expected: none"),
        (gain_a_tensor, "missing: none; not expected: bert.adapter"),
        (label_too_many, "id2label"),
        (relabel, "labels"),
        (as_pickle, "pytorch_model.bin: cannot be read as a plain state dict"),
    ],
)
def test_a_checkpoint_that_does_not_fit_ends_the_job_before_ray_starts(
    tmp_path: Path, checkpoint: Path, damage: Any, message: str
):
    damage(checkpoint)
    put(tmp_path / "corpus" / "a.jsonl", line("a", GOOD))
    with pytest.raises(CheckpointError, match=message):
        run_job(job(tmp_path, f"checkpoint.uri={checkpoint}"))
    assert not (tmp_path / "table").exists()


BIG = """
import json, sys
from pathlib import Path
from pipeline.config.corpus import CorpusSettings
from pipeline.corpus.files import discover
from pipeline.corpus.streams import read_pass
from pipeline.corpus.units import cut
from pipeline.storage.objects import Storage
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.packer import Packer
from pipeline.text.windows import WindowPolicy
from tests.processes import peak_kilobytes

corpus, spiece = sys.argv[1:]
settings = CorpusSettings(uris=(corpus,))
packer = Packer(Tokenizer.load(Path(spiece), None), WindowPolicy(), 8192, 64)
records = []
for unit in cut(Storage(), discover(Storage(), settings).files, settings, 16_000_000):
    for _, documents in read_pass(Storage(), (unit,)):
        packs = packer.packs("u", documents)
        assert sum(packs["window_tokens"][0].as_py()) == len(packs["tokens"].chunk(0).flatten())
        records += packs["documents"][0].as_py()
print(json.dumps([records, peak_kilobytes()]))
"""


@pytest.mark.parametrize("name", ["big.parquet", "big.jsonl.zst"])
def test_a_document_of_100_mb_is_read_and_cut_into_windows(tmp_path: Path, name: str):
    """23.6 million tokens, in a process of its own: 0.66 and 0.74 GB were measured, of Parquet and of JSON Lines."""
    texts = pq.read_table(ROOT / "jobs/sample/corpus/train.parquet")["text"].to_pylist()
    text = "\n".join(texts)
    text *= 100_000_000 // len(text.encode()) + 1
    found = ["before", text, "after"]
    path = tmp_path / name
    if name == "big.parquet":
        pq.write_table(pa.table({"text": found}), path)
    else:
        lines = "\n".join(json.dumps({"text": text}) for text in found)
        path.write_bytes(zstandard.compress(lines.encode()))
    command = [sys.executable, "-c", BIG, str(path), str(CHECKPOINT / "spiece.model")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    records, peak = json.loads(shown)
    big = records[1]
    assert [record["reason"] for record in records] == [None] * 3
    assert big["n_tokens"] > 20_000_000
    assert big["n_windows"] == -(-(big["n_tokens"] - 128) // (4094 - 128))
    assert peak < 1_000_000
