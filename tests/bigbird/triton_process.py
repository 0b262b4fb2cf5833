"""Runs a test's function where Triton's kernels can run: on a GPU, or interpreted, or compiled only.

Triton decides when it is imported whether it interprets, so each of these has a process of its own.
"""

import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

Run = Callable[..., Any]

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed (torch for CPUs comes without): pip install triton==3.7.1",
)
INTERPRETER = "interpreter"
PLACES = [
    INTERPRETER,
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
        ],
    ),
]


@contextmanager
def place_to_run(place: str, cache: Path) -> Iterator[Run]:
    """`run(function, *arguments)` calls function(device, *arguments) there."""
    interpret = place == INTERPRETER
    with process(TRITON_INTERPRET=str(int(interpret)), TRITON_CACHE_DIR=str(cache)) as run:
        yield lambda function, *arguments: run(function, "cpu" if interpret else place, *arguments)


@contextmanager
def process(**environment: str) -> Iterator[Run]:
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            pool.submit(int).result()  # now it has started, with the environment
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
