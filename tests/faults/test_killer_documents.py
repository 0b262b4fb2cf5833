"""Documents that end the process which computes them: found by halving, told as errors, at the price of one unit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from sentencepiece import SentencePieceProcessor

from jobs.sample import CHECKPOINT, CORPUS

ROOT = Path(__file__).parent.parent.parent
HOOKS = ROOT / "tests/inference/hooks"
KILLER = "3"  # the id of a document, in the first of two units


def test_killers_leave_as_errors_and_take_nobody_with_them(tmp_path: Path) -> None:
    texts = pq.read_table(CORPUS / "train.parquet")["text"].to_pylist()[:16]
    documents = {str(i): text[:3000] for i, text in enumerate(texts)}
    token, word = word_in_none_of(list(documents.values()))
    documents[KILLER] += f" {word}"
    lines = [json.dumps({"id": id_, "text": text}) for id_, text in documents.items()]
    (tmp_path / "a.jsonl").write_text("\n".join(lines[:8]))
    (tmp_path / "b.jsonl").write_text("\n".join(lines[8:]))
    deaths = tmp_path / "deaths"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HOOKS), str(ROOT)]),
        "ROOKERY_TEST_KILLER_TOKENS": str(token),
        "ROOKERY_TEST_DEATHS": str(deaths),
    }
    job = tmp_path / "job.yaml"
    job.write_text(
        f"corpus: {{uris: '{tmp_path}/*.jsonl', id_column: id}}\ncheckpoint: {{uri: {CHECKPOINT}}}\n"
        f"table: {{uri: {tmp_path}/table}}\ncompute: {{dtype: fp32}}\n"
    )
    command = [sys.executable, "-m", "jobs.cli", "label", "--config", str(job)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    query = "SELECT id FROM '{}/table/data/*/*.parquet' ORDER BY id::int"
    found = [id_ for (id_,) in duckdb.sql(query.format(tmp_path)).fetchall()]
    assert found == [str(i) for i in range(16) if str(i) != KILLER]
    query = "SELECT id, stage, reason FROM '{}/table/errors/*/*.parquet' ORDER BY id::int"
    errors = duckdb.sql(query.format(tmp_path)).fetchall()
    assert errors == [(KILLER, "predict", "process_died")]
    # the actor once; in the process apart all windows twice, some halves once, the one twice
    windows = [int(line.split()[1]) for line in deaths.read_text().splitlines()]
    assert windows[:3] == [8, 8, 8]
    assert windows[-2:] == [1, 1]
    assert windows == sorted(windows, reverse=True)
    assert len(windows) <= 8
    assert not list(tmp_path.rglob("*.begun"))


def word_in_none_of(texts: list[str]) -> tuple[int, str]:
    """A token that a word of its own has, and no text."""
    model = SentencePieceProcessor(model_file=str(CHECKPOINT / "spiece.model"))
    used = {token for ids in model.encode(texts) for token in ids}
    for token in range(model.get_piece_size()):
        word = model.id_to_piece(token).removeprefix("▁")
        if token not in used and model.encode(f"a {word}")[-1] == token and len(word) > 3:
            return token, word
    raise AssertionError("the texts use every token")
