"""The steps, the most valuable first; the first four fit one command of ten minutes, the others another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jobs.measure.gpu import ResultRow
from jobs.measure.gpu.eight_bits import measure_eight_bits
from jobs.measure.gpu.job_feeding import measure_feeding
from jobs.measure.gpu.kernel_tests import run_kernel_tests
from jobs.measure.gpu.little_memory import measure_little_memory
from jobs.measure.gpu.pack_budgets import measure_pack_budgets
from jobs.measure.gpu.parity import measure_parity
from jobs.measure.gpu.scope import Scope
from jobs.measure.gpu.share_of_floor import measure_share_of_floor
from jobs.measure.gpu.speed_by_length import measure_speed_by_length
from jobs.measure.gpu.training_step import measure_training_step


@dataclass(frozen=True, slots=True)
class Step:
    """A part of what is measured, which yields rows, and the seconds after which it is ended."""

    measure: Callable[[Scope], Iterator[ResultRow]]
    limit_s: int


STEPS = {
    "kernels": Step(run_kernel_tests, 150),
    "parity": Step(measure_parity, 120),
    "speed": Step(measure_speed_by_length, 210),
    "floor": Step(measure_share_of_floor, 80),
    "feeding": Step(measure_feeding, 140),
    "training": Step(measure_training_step, 150),
    "packs": Step(measure_pack_budgets, 130),
    "memory": Step(measure_little_memory, 60),
    "eight_bits": Step(measure_eight_bits, 60),
}
