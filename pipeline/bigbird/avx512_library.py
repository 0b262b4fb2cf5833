"""The operators in C: `*_avx512.c`, built when the wheel is where there is a compiler, and called through ctypes.

A call takes a range of tasks and lets go of the interpreter's lock. Nothing in C knows of threads, torch or Python.
Loading the library runs nothing of it: it is for whoever calls to know that the processor has the instructions.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch

from pipeline.cores import cpu_flags

NEEDED_FLAGS = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512_bf16"})
TILE_FLAGS = frozenset({"amx_tile", "amx_bf16"})
# From Linux's Documentation/arch/x86/xstate.rst: a process asks for the room that tiles take in each thread's state.
SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64
_ARGUMENTS = {
    "rookery_lay_out": [*[_pointer] * 5, *[_integer] * 2],
    "rookery_attend": [*[_pointer] * 6, ctypes.c_int, *[_integer] * 2],
    "rookery_attend_first": [*[_pointer] * 6, *[_integer] * 2],
    "rookery_add_norm": [*[_pointer] * 4, ctypes.c_float, _integer, _pointer, *[_integer] * 2],
    "rookery_gelu_tanh": [_pointer, *[_integer] * 2],
    "rookery_round_rows": [_pointer, _integer, *[_pointer] * 2, *[_integer] * 2],
    "rookery_scale_rows": [*[_pointer] * 3, _integer, ctypes.c_int, *[_integer] * 2],
}


@cache
def avx512_library() -> ctypes.CDLL | None:
    """Loads the library that lies beside this file; None where it was not built."""
    for path in Path(__file__).parent.glob("_avx512*.so"):
        return opened(path)
    return None


def operators_in_c() -> ctypes.CDLL:
    """Gives the library to who was chosen to call it, because `why_no_avx512` knew no reason against it."""
    library = avx512_library()
    assert library is not None
    return library


def opened(path: Path) -> ctypes.CDLL:
    """Loads the library at `path`."""
    library = ctypes.CDLL(str(path))
    for name, arguments in _ARGUMENTS.items():
        getattr(library, name).argtypes = arguments
    return library


def why_no_avx512() -> str | None:
    """Says what keeps the operators in C from running here; None if nothing does."""
    missing = NEEDED_FLAGS - cpu_flags()
    if missing:
        return f"the processor has no {', '.join(sorted(missing))}"
    return None if avx512_library() else "the library is not built (no C compiler when Rookery was installed?)"


@cache
def why_no_tiles() -> str | None:
    """Says what keeps AMX's tiles from being used here; None if nothing does. Asks Linux for them, for this process."""
    missing = TILE_FLAGS - cpu_flags()
    if missing:
        return f"the processor has no {', '.join(sorted(missing))}"
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL")  # whoever holds oneDNN's products back means all of them
    if "AMX" not in limit.upper() and limit.upper() not in ("ALL", "DEFAULT"):
        return f"ONEDNN_MAX_CPU_ISA is {limit}"
    arguments = (ctypes.c_long(each) for each in (SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA))
    return "Linux does not let this process use them" if ctypes.CDLL(None).syscall(*arguments) else None


def spread(tasks: int, least: int, work: Callable[[int, int], object]) -> None:
    """Calls work(low, high) for ranges of `tasks`, on as many threads as torch would take here.

    That is one where each thread has a pack of its own, as in a predictor. `least` tasks are worth a thread.
    """
    threads = max(1, min(torch.get_num_threads(), tasks // least))
    if threads == 1:
        work(0, tasks)
        return
    cuts = [tasks * thread // threads for thread in range(threads + 1)]
    list(_pool(threads).map(work, cuts[:-1], cuts[1:]))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "avx512")
