"""A training step beside that of transformers' Trainer: `python -m jobs.measure.training`.

Same model, same documents in a step, AdamW and float32 weights in both. Each comparison has a process of its own, in
which all make their steps in turn: with all cores, by the clock, and with one, by the processor's time, which other
load hardly touches. Threads that wait don't spin: beside other load transformers' would take ten times as long. What a
step adds to the memory is measured in a process for each.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from jobs.measure.benchmark import token_windows
from jobs.measure.benchmark.token_windows import MAX_TOKENS, TokenWindow
from jobs.measure.figures import as_markdown
from jobs.measure.own_process import in_a_process
from jobs.measure.page import Page, made_by
from jobs.measure.training_steps import MakesSteps, RookeryStep, StepShape, TrainerStep
from jobs.sample import CORPUS
from jobs.terminal.console import console
from pipeline.cores import available_cores
from pipeline.inference.dtype import resolve_dtype

SMALL = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 192}
TRAINER, OUR_MALLOC = "Trainer, fp32", "Trainer, fp32, our malloc"
OURS = "rookery "  # and the dtype


@dataclass(frozen=True, slots=True)
class Speeds:
    """Median tokens per second of each: of the clock's with all cores, of the processor's with one."""

    tokens: int
    documents: int
    wall: dict[str, float]
    processor: dict[str, float]


def training(
    rounds: Annotated[int, typer.Option(help="Steps of each, in turn; medians are shown.")] = 3,
    layers: Annotated[int, typer.Option(help="Of the model of BigBird-base's shape, which has 12.")] = 2,
    corpus: Annotated[str, typer.Option(help="Parquet with a column `text`, for the real mix of lengths.")] = str(
        CORPUS
    ),
    markdown: Annotated[Path | None, typer.Option(help="Write the figures into this page too.")] = None,
) -> None:
    """Measure a training step beside that of transformers' Trainer: tokens per second, and memory."""
    page = Page(markdown)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when a process starts
    shapes = [
        StepShape("2 layers of 96", SMALL | {"vocab_size": 16_000}, documents=4),
        StepShape(f"{layers} layers of BigBird-base", {"num_hidden_layers": layers}, documents=2, budget=MAX_TOKENS),
    ]
    parts = []
    for shape in shapes:
        for name, windows in documents_of_a_step(shape, corpus).items():
            speeds = in_a_process(compare_steps, shape, windows, rounds)
            peaks = {side: in_a_process(step_memory, shape, windows, side) for side in sides() if side != OUR_MALLOC}
            title = f"{shape.name}, {name}: {speeds.documents} documents, {speeds.tokens:,} tokens a step"
            table = steps_table(speeds, peaks)
            console.print(title, table, sep="\n")
            parts += [f"### {title}", as_markdown(table)]
            rounds_and_load = (
                f"Medians of {rounds} interleaved rounds; {os.getloadavg()[2]:.0f} processes were running."
            )
            page.write(f"{made_by()} {rounds_and_load}", parts)  # after each: a cut takes the others' only


def documents_of_a_step(shape: StepShape, corpus: str) -> dict[str, list[TokenWindow]]:
    """Lists the documents of a step: of 4,096 tokens each, and of real lengths."""
    return {
        "4,096 tokens each": token_windows.of_length(MAX_TOKENS, shape.documents * MAX_TOKENS),
        "real documents": token_windows.of_texts(token_windows.read_texts(corpus), shape.documents),
    }


def sides() -> list[str]:
    """Names who makes steps here: ours in fp32 and in what `auto` is, theirs as it is and with our malloc limits."""
    dtypes = sorted({"fp32", resolve_dtype("auto", "cpu")})
    return [*(OURS + dtype for dtype in dtypes), TRAINER, OUR_MALLOC]


def compare_steps(shape: StepShape, windows: Sequence[TokenWindow], rounds: int) -> Speeds:
    """Makes steps in turn, one of each to warm up."""
    tokens = token_windows.tokens(windows)
    wall = _speeds(shape, windows, rounds, available_cores(), time.perf_counter)
    processor = _speeds(shape, windows, rounds, 1, time.process_time)
    return Speeds(tokens, len(windows), wall, processor)


def _speeds(shape: StepShape, windows: Sequence[TokenWindow], rounds: int, cores: int, clock: Any) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    with ExitStack() as opened:
        steps = {side: _open(opened, shape, windows, side, cores) for side in sides()}
        for number in range(rounds + 1):
            for side, step in steps.items():
                began = clock()
                step()
                if number:
                    times.setdefault(side, []).append(clock() - began)
    return {side: token_windows.tokens(windows) / statistics.median(of_side) for side, of_side in times.items()}


def _open(opened: ExitStack, shape: StepShape, windows: Sequence[TokenWindow], side: str, cores: int) -> MakesSteps:
    scratch = Path(opened.enter_context(tempfile.TemporaryDirectory()))
    shape.save(scratch / "model")
    if side.startswith(OURS):
        dtype: Any = side.removeprefix(OURS)
        return opened.enter_context(RookeryStep.opened(scratch / "model", shape, windows, dtype, cores))
    return TrainerStep(scratch / "model", windows, scratch, cores, our_malloc=side == OUR_MALLOC)


def step_memory(shape: StepShape, windows: Sequence[TokenWindow], side: str) -> int:
    """Measures what a step adds to a process that has the weights, in bytes: gradients, AdamW's state, and the rest."""
    with ExitStack() as opened:
        step = _open(opened, shape, windows, side, available_cores())
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the highest, anew
        step()
        return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def steps_table(speeds: Speeds, peaks: dict[str, int]) -> Table:
    """Shows each side beside Trainer as it is."""
    names = ("tokens/s", "× Trainer", "tokens per second of one core", "× Trainer", "a step's memory, MB")
    table = Table("", *(Column(name, justify="right") for name in names))
    for side in speeds.wall:
        cells = [
            cell
            for by_side in (speeds.wall, speeds.processor)
            for cell in (f"{by_side[side]:,.0f}", f"{by_side[side] / by_side[TRAINER]:.2f}")
        ]
        table.add_row(side, *cells, f"{peaks[side] / 1e6:,.0f}" if side in peaks else "")
    return table


if __name__ == "__main__":
    typer.run(training)
