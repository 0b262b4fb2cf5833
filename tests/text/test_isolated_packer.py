"""The isolated packer gives the same packs, and finds the documents that end it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.schema import DOCUMENTS
from pipeline.text.isolated_packer import IsolatedPacker
from pipeline.text.packer import Packer
from pipeline.text.tokenizer import Tokenizer
from pipeline.text.windows import WindowPolicy
from tests.text.models import train

TEXTS = [f"document {number} of a few " + "words " * (number + 1) for number in range(9)]


def load(spiece: Path) -> Packer:
    tokenizer = Tokenizer.load(spiece, None)
    return Packer(tokenizer, WindowPolicy(64, "windows", 0), budget=256, block_size=64)


@pytest.fixture(scope="module")
def spiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("spiece") / "spiece.model", "nmt_nfkc")


@pytest.fixture
def isolated(spiece: Path) -> Iterator[IsolatedPacker]:
    packer = IsolatedPacker(load, spiece)
    yield packer
    packer.close()


@pytest.fixture
def deaths(killing: Callable[[str, str], Path]) -> Path:
    return killing("TEXT", "tokenize quokka")


def documents(*killers: int) -> pa.Table:
    rows = [
        {"id": str(i), "position": i, "text": f"{text} quokka" if i in killers else text}
        for i, text in enumerate(TEXTS)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENTS)


def test_packs_are_the_packers(spiece: Path, isolated: IsolatedPacker) -> None:
    assert isolated.packs("u", documents()).equals(load(spiece).packs("u", documents()))


@pytest.mark.parametrize("killers", [[0], [4, 8], [2, 3]])
def test_the_documents_that_end_the_process_are_found(
    killers: list[int], spiece: Path, deaths: Path, isolated: IsolatedPacker
) -> None:
    (found,) = isolated.packs("u", documents(*killers))["documents"].to_pylist()
    assert [row["position"] for row in found if row["reason"]] == killers
    assert {row["reason"] for row in found if row["reason"]} == {"process_died"}
    (expected,) = load(spiece).packs("u", documents())["documents"].to_pylist()
    survivors = [row for row in found if not row["reason"]]
    assert survivors == [row for row in expected if row["position"] not in killers]
    at_stake = [int(line.split()[2]) for line in deaths.read_text().splitlines()]
    assert at_stake[:2] == [9, 9]
    assert at_stake.count(1) == 2 * len(killers)
