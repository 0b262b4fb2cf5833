"""Imported by every Python that has this folder on its PYTHONPATH: documents that end processes, as a bad library would.

ROOKERY_TEST_KILLER_TOKENS: token ids, one of which in a pack ends the process that predicts it.
ROOKERY_TEST_KILLER_TEXT: `<read or tokenize> <word>`, which in a document's text ends the process of that stage.
ROOKERY_TEST_DEATHS: a file in which each death is a line: process, stage and, where known, how much was at stake.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, change: Callable[[ModuleType], None]) -> None:
        self.module, self.change = module, change

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.change(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def die(stage: str, at_stake: int = 1) -> None:
    with Path(os.environ["ROOKERY_TEST_DEATHS"]).open("a") as deaths:
        deaths.write(f"{os.getpid()} {stage} {at_stake}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def predictor(module: ModuleType) -> None:
    start = module.Predictor._start_whole
    killers = [int(token) for token in TOKENS.split()]

    def mortal(self: Any, tokens: Any, lengths: Any) -> Any:
        if any(killer in tokens for killer in killers):
            die("predict", len(lengths))
        return start(self, tokens, lengths)

    module.Predictor._start_whole = mortal


def readers(module: ModuleType) -> None:
    document = vars(module)["_document"]

    def mortal(unit: Any, position: int, id_: object, text: Any) -> Any:
        if (WORD if isinstance(text, str) else WORD.encode()) in (text or b""):
            die("read")
        return document(unit, position, id_, text)

    vars(module)["_document"] = mortal


def packer(module: ModuleType) -> None:
    encode = module.Packer._encode

    def mortal(self: Any, texts: list[str]) -> Any:
        if any(WORD in text for text in texts):
            die("tokenize", len(texts))
        return encode(self, texts)

    module.Packer._encode = mortal


TOKENS = os.environ.get("ROOKERY_TEST_KILLER_TOKENS", "")
STAGE, _, WORD = os.environ.get("ROOKERY_TEST_KILLER_TEXT", "").partition(" ")
if TOKENS:
    sys.meta_path.insert(0, _Finder("pipeline.inference.predictor", predictor))
if STAGE == "read":
    sys.meta_path.insert(0, _Finder("pipeline.corpus.readers", readers))
if STAGE == "tokenize":
    sys.meta_path.insert(0, _Finder("pipeline.text.units", packer))
