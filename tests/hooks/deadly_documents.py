"""Documents that end processes, as a bad library would.

ROOKERY_TEST_KILLER_TOKENS: token ids, one of which in a pack ends the process that predicts it.
ROOKERY_TEST_KILLER_TEXT: `<read or tokenize> <word>`, which in a document's text ends the process of that stage.
ROOKERY_TEST_DEATHS: a file in which each death is a line: process, stage and, where known, how much was at stake.
"""

import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.hooks.imports import after_import

TOKENS = os.environ.get("ROOKERY_TEST_KILLER_TOKENS", "")
STAGE, _, WORD = os.environ.get("ROOKERY_TEST_KILLER_TEXT", "").partition(" ")


def install() -> None:
    if TOKENS:
        after_import("pipeline.inference.predictor", predictor)
    if STAGE == "read":
        after_import("pipeline.corpus.rows", rows)
    if STAGE == "tokenize":
        after_import("pipeline.text.packer", packer)


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


def rows(module: ModuleType) -> None:
    row = vars(module)["text_row"]

    def mortal(unit: Any, position: int, id_: object, text: Any) -> Any:
        if (WORD if isinstance(text, str) else WORD.encode()) in (text or b""):
            die("read")
        return row(unit, position, id_, text)

    vars(module)["text_row"] = mortal


def packer(module: ModuleType) -> None:
    encode = module.Packer._encode

    def mortal(self: Any, texts: list[str]) -> Any:
        if any(WORD in text for text in texts):
            die("tokenize", len(texts))
        return encode(self, texts)

    module.Packer._encode = mortal
