"""Imported by every Python that has this folder on its PYTHONPATH: a predictor that some tokens kill, as a bad kernel would.

ROOKERY_TEST_KILLER_TOKENS holds ids, one of which in a pack ends the process; each death is a line in ROOKERY_TEST_DEATHS.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

PREDICTOR = "pipeline.inference.predictor"


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != PREDICTOR:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _make_mortal(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _make_mortal(module: ModuleType) -> None:
    start = module.Predictor._start_whole
    killers = [int(token) for token in os.environ["ROOKERY_TEST_KILLER_TOKENS"].split()]

    def mortal(self: Any, tokens: Any, lengths: Any) -> Any:
        if any(killer in tokens for killer in killers):
            with Path(os.environ["ROOKERY_TEST_DEATHS"]).open("a") as deaths:
                deaths.write(f"{os.getpid()} {len(lengths)}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return start(self, tokens, lengths)

    module.Predictor._start_whole = mortal


if "ROOKERY_TEST_KILLER_TOKENS" in os.environ:
    sys.meta_path.insert(0, _Finder())
