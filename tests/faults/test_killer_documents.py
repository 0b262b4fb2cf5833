"""Documents that end the process which computes them: found by halving, told as errors, at the price of one unit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from sentencepiece import SentencePieceProcessor

from jobs.sample import CHECKPOINT, CORPUS
from tests.processes import on_ray

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = 8  # half of them in each of two units
KILLER = "3"  # the id of a document, in the first


@pytest.mark.parametrize("stage", ["read", "tokenize", "predict"])
def test_killers_leave_as_errors_and_take_nobody_with_them(
    stage: str, killing: Callable[[str, str], Path], ray_address: str, tmp_path: Path
) -> None:
    texts = pq.read_table(CORPUS / "train.parquet")["text"].to_pylist()[:DOCUMENTS]
    documents = {str(i): text[:3000] for i, text in enumerate(texts)}
    token, word = word_in_none_of(list(documents.values()))
    documents[KILLER] += f" {word}"
    lines = [json.dumps({"id": id_, "text": text}) for id_, text in documents.items()]
    (tmp_path / "a.jsonl").write_text("\n".join(lines[: DOCUMENTS // 2]))
    (tmp_path / "b.jsonl").write_text("\n".join(lines[DOCUMENTS // 2 :]))
    by_token = ("TOKENS", str(token))
    list_of_deaths = killing(*(by_token if stage == "predict" else ("TEXT", f"{stage} {word}")))
    tables = ("table", "other")  # of one actor, whose process dies for both
    label(tmp_path, ray_address, tables)
    for table in tables:
        query = f"SELECT id FROM '{tmp_path}/{table}/data/*/*.parquet' ORDER BY id::int"
        found = [id_ for (id_,) in duckdb.sql(query).fetchall()]
        assert found == [str(i) for i in range(DOCUMENTS) if str(i) != KILLER]
        query = f"SELECT stage, reason FROM '{tmp_path}/{table}/errors/*/*.parquet'"
        assert duckdb.sql(query).fetchall() == [(stage, "process_died")]
    deaths = [line.split() for line in list_of_deaths.read_text().splitlines()]
    assert {death for _, death, _ in deaths} == {stage}
    if stage != "read":  # there a unit is halved by its bytes
        # as usual once; in the isolated process all twice, some halves once, the one twice
        at_stake = [int(number) for *_, number in deaths]
        if stage == "predict":  # once for both tables, then for each by itself
            first, *apart = at_stake
            half = len(apart) // 2
            assert apart[:half] == apart[half:]
            at_stake = [first, *apart[:half]]
        assert at_stake[:3] == [DOCUMENTS // 2] * 3
        assert at_stake[-2:] == [1, 1]
        assert at_stake == sorted(at_stake, reverse=True)
        assert len(at_stake) <= 7
    assert not list(tmp_path.rglob("*.begun"))


def label(folder: Path, ray_address: str, tables: tuple[str, ...]) -> None:
    checkpoints = [{"uri": str(CHECKPOINT), "table": f"{folder}/{table}"} for table in tables]
    job = folder / "job.yaml"
    job.write_text(
        f"corpus: {{uris: '{folder}/*.jsonl', id_column: id}}\ncheckpoints: {json.dumps(checkpoints)}\n"
        f"compute: {{dtype: fp32}}\nmax_errors: 1\n"
    )
    killer = {key: value for key, value in os.environ.items() if key.startswith(("ROOKERY_TEST_", "PYTHONPATH"))}
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "label", "--config", str(job)],
        cwd=ROOT,
        env=os.environ | on_ray(ray_address, killer),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def word_in_none_of(texts: list[str]) -> tuple[int, str]:
    """A token that a word of its own has, and no text."""
    model = SentencePieceProcessor(model_file=str(CHECKPOINT / "spiece.model"))
    used = {token for ids in model.encode(texts) for token in ids}
    for token in range(model.get_piece_size()):
        word = model.id_to_piece(token).removeprefix("▁")
        if token not in used and model.encode(f"a {word}")[-1] == token and len(word) > 3:
            return token, word
    raise AssertionError("the texts use every token")
