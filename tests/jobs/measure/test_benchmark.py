"""The benchmark on a model of seconds: its figures hold together, and it needs neither Ray nor pydantic."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.measure.benchmark import machine, report, stages, token_windows
from jobs.measure.benchmark.contenders import Rookery, Transformers
from jobs.measure.page import BEGIN, END
from jobs.sample import CORPUS
from tests.checkpoint_folders import random_transformers_model, save_folder, transformers_logits

LABELS = ["python", "rust", "swift"]

# The command in a process that cannot import what a bare GPU machine does not have.
PROGRAM = """
import sys
for name in ("ray", "pydantic", "typer", "rich", "fsspec", "s3fs"):
    sys.modules[name] = None
from jobs.measure.benchmark import command, stages
from tests.checkpoint_folders import random_transformers_model
command.random_model = lambda: random_transformers_model(vocab_size=8000)
command.LENGTHS, command.TOKENS, command.STAGE_WINDOWS = (512, 1024), {"cpu": 2048}, {"cpu": 1}
command.AGREEMENT_DOCUMENTS = 12
command.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    path = tmp_path_factory.mktemp("benchmark") / "figures.json"
    options = ["--rounds", "2", "--documents", "4", "--corpus", str(CORPUS), "--json", str(path)]
    options += ["--markdown", str(path.with_suffix(".md"))]
    path.with_suffix(".md").write_text(f"# The encoder's speed\n\n{BEGIN}\n\n{END}\n")
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, "--device", "cpu", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    page = path.with_suffix(".md").read_text()
    for section in (
        f"# The encoder's speed\n\n{BEGIN}\n\nBy `rookery benchmark --device cpu ",
        "\n## Real mix of lengths: 4 documents",
    ):
        assert section in page
    assert page.count("| --- | ---: |") == 6
    return json.loads(path.read_text()), process.stdout


def test_it_needs_neither_ray_nor_pydantic_and_prints_every_table(
    run: tuple[dict[str, Any], str],
) -> None:
    for title in ("Real mix", "512 tokens", "1024 tokens", "Stages", "Beside fp32", "Ratios"):
        assert title in run[1]


def test_ratios_are_those_of_the_seconds(run: tuple[dict[str, Any], str]) -> None:
    figures = run[0]
    taken = {c["name"]: c["seconds"] for c in figures["real_mix"]["contenders"]}
    best = min(seconds for name, seconds in taken.items() if name.startswith("transformers fp32"))
    ratios = figures["ratios"]
    assert ratios["real_mix_bf16_vs_transformers_fp32"] == best / taken["rookery bf16"]
    assert ratios["real_mix_fp32_vs_transformers_fp32"] == best / taken["rookery fp32"]
    assert ratios["real_mix_vs_transformers_same_dtype"] > 0
    assert ratios["share_of_gemm_floor_4096"] > ratios["share_of_gemm_floor_4096_first_rows_only"]


def test_all_contenders_compute_the_same_documents(run: tuple[dict[str, Any], str]) -> None:
    contenders = {c["name"]: c for c in run[0]["real_mix"]["contenders"]}
    assert contenders["rookery fp32"]["worst_logit_error"] < 1e-4
    for contender in contenders.values():
        tokens = contender["tokens_per_second"] * contender["seconds"]
        assert round(tokens) == run[0]["real_mix"]["tokens"]
        assert round(contender["documents_per_second"] * contender["seconds"]) == 4


def test_labels_agree(run: tuple[dict[str, Any], str]) -> None:
    for agreement in run[0]["agreement"]:
        assert agreement["documents"] == 12
        assert agreement["same_label"] == 1  # margins of the sample are far wider than bfloat16's step


@pytest.fixture(scope="module")
def model() -> Any:
    return random_transformers_model(vocab_size=8000)


def test_a_short_batch_does_not_spoil_the_next_one(model: Any) -> None:
    """What `set_attention_type` before each batch is there for."""
    windows = [token_windows.of_length(100, 100)[0], token_windows.of_length(1500, 1500)[0]]
    logits = Transformers(model, "cpu", 1)(windows)
    model.bert.set_attention_type("block_sparse")
    assert np.abs(logits[1] - transformers_logits(model, windows[1].astype(np.int64))).max() < 1e-5


def test_logits_come_in_the_order_of_the_windows(model: Any, tmp_path: Path) -> None:
    windows = token_windows.real_mix(5)
    rookery = Rookery(save_folder(model, tmp_path, labels=LABELS), "cpu", "fp32")
    expected = np.stack([transformers_logits(model, window.astype(np.int64)) for window in windows])
    assert np.abs(rookery(windows) - expected).max() < 1e-4
    assert np.abs(Transformers(model, "cpu", 1)(windows) - expected).max() < 1e-4


def test_padding_is_what_is_computed_and_not_asked_for(model: Any, tmp_path: Path) -> None:
    windows = [token_windows.of_length(length, length)[0] for length in (1000, 100, 2000)]
    rookery = Rookery(save_folder(model, tmp_path, labels=LABELS), "cpu", "fp32")
    assert rookery.padding(windows) == pytest.approx(1 - 3100 / (1024 + 128 + 2048))
    assert Transformers(model, "cpu", 2).padding(windows) == pytest.approx(1 - 3100 / (2 * 1024 + 2048))


def test_the_real_mix_is_that_of_real_documents() -> None:
    lengths = [len(window) for window in token_windows.real_mix(200)]
    assert np.mean(lengths) == pytest.approx(2553, rel=0.02)  # of the 13,591 documents
    assert max(lengths) == 4096
    assert np.mean(np.array(lengths) == 4096) == pytest.approx(0.36, abs=0.02)


def test_flops_are_those_of_the_notes() -> None:
    """185.9 MFLOP per token at 4,096, the attention's 8.6 % of it included (docs/encoder.md)."""
    from tests.bigbird.configs import encoder_config

    config = encoder_config(hidden_size=768, layers=12, heads=12, intermediate_size=3072)
    every, needed = stages.pass_flops(machine.shapes(768, 3072), config, 4096)
    assert every / 4096 == pytest.approx(185.9e6, rel=1e-3)
    assert needed / every == pytest.approx(1 - 0.071, abs=0.003)


def test_the_gemm_rate_is_flops_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.bigbird.operators import Operators

    monkeypatch.setattr(machine, "micro_medians", lambda works, device: {"torch": 2.0, "ours": 4.0})
    rate = machine.gemm_rate(machine.Shape("square", 10, 10), 50, torch.float32, "cpu", Operators())
    assert rate == 50 * 2 * 10 * 10 / 2.0


def test_columns_are_aligned() -> None:
    lines = report._table([("", "tokens/s"), ("rookery", "1,000"), ("x", "1")]).splitlines()
    assert {len(line) for line in lines} == {len("  rookery  tokens/s")}
