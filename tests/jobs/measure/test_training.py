"""Both sides make the same step, at the smallest size: what is measured is comparable."""

from pathlib import Path

import pytest

from jobs.measure.benchmark import token_windows
from jobs.measure.training import OUR_MALLOC, TRAINER, Speeds, steps_table
from jobs.measure.training_steps import RookeryStep, StepShape, TrainerStep
from pipeline.inference.memory import give_freed_memory_back

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 8_000,
    "max_position_embeddings": 1_024,
}


def test_both_make_the_same_step(tmp_path: Path) -> None:
    shape = StepShape("tiny", SIZES, budget=256, dropout=0.0)
    windows = token_windows.of_length(130, 260)  # so short that transformers draws no random blocks
    shape.save(tmp_path / "model")
    trainer = TrainerStep(tmp_path / "model", windows, tmp_path, threads=1)
    with RookeryStep.opened(tmp_path / "model", shape, windows, "fp32", 1) as ours:
        assert len(ours.packs) == 2
        first, second = ours(), ours()
    theirs = trainer() / len(windows)  # it adds a step's documents up
    assert first == pytest.approx(theirs, abs=1e-4)
    assert second < first
    give_freed_memory_back()


def test_the_table_compares_with_trainer_as_it_is() -> None:
    speeds = {"rookery fp32": 600.0, TRAINER: 100.0, OUR_MALLOC: 150.0}
    table = steps_table(Speeds(8192, 2, speeds, {side: speed / 2 for side, speed in speeds.items()}), {TRAINER: 2**20})
    columns = [list(column.cells) for column in table.columns]
    assert columns[1:3] == [["600", "100", "150"], ["6.00", "1.00", "1.50"]]
    assert columns[3:] == [["300", "50", "75"], ["6.00", "1.00", "1.50"], ["", "1", ""]]
