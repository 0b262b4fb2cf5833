"""Packs are first-fit-decreasing in whole blocks, and a pure function of the lengths."""

import pytest
from hypothesis import given, strategies as st

from pipeline.text.packing import pack

BLOCK = 64


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([1], [[0]]),
        ([64, 64, 64, 64], [[0, 1, 2, 3]]),
        ([64, 64, 64, 65], [[3, 0, 1], [2]]),
        ([10, 256, 10], [[1], [0, 2]]),
        ([100, 200, 100], [[1], [0, 2]]),
        ([300, 10, 20], [[0], [1, 2]]),
        ([192, 128, 64, 128], [[0, 2], [1, 3]]),
    ],
    ids=[
        "nothing",
        "one",
        "exactly full",
        "one token more",
        "a full one among small ones",
        "rounded up",
        "larger than the budget",
        "gaps are filled",
    ],
)
def test_packs(lengths: list[int], expected: list[list[int]]) -> None:
    assert pack(lengths, budget=256, block_size=BLOCK) == expected


def test_a_budget_below_one_block_gives_each_window_a_pack() -> None:
    assert pack([3, 70, 5], budget=10, block_size=BLOCK) == [[1], [0], [2]]


def test_a_budget_that_is_no_whole_number_of_blocks_is_rounded_down() -> None:
    assert pack([64, 64, 64], budget=191, block_size=BLOCK) == [[0, 1], [2]]


many_lengths = st.lists(st.integers(2, 700), max_size=80)
budgets = st.integers(64, 1000)


def blocks(length: int) -> int:
    return -(-length // BLOCK)


def first_fit_decreasing(lengths: list[int], capacity: int) -> list[list[int]]:
    """As the textbook has it: each window, longest first, into the first pack with room."""
    packs: list[list[int]] = []
    for window in sorted(range(len(lengths)), key=lambda i: (-blocks(lengths[i]), i)):
        for held in packs:
            if sum(blocks(lengths[i]) for i in [*held, window]) <= capacity:
                held.append(window)
                break
        else:
            packs.append([window])
    return packs


@given(many_lengths, budgets)
def test_it_is_the_textbooks_first_fit_decreasing(lengths: list[int], budget: int) -> None:
    packs = pack(lengths, budget=budget, block_size=BLOCK)
    assert packs == first_fit_decreasing(lengths, budget // BLOCK)


@given(many_lengths, budgets)
def test_nothing_is_lost_and_nothing_is_packed_twice(lengths: list[int], budget: int) -> None:
    packs = pack(lengths, budget=budget, block_size=BLOCK)
    assert sorted(window for held in packs for window in held) == list(range(len(lengths)))


@given(many_lengths, budgets)
def test_only_a_window_alone_may_exceed_the_budget(lengths: list[int], budget: int) -> None:
    for held in pack(lengths, budget=budget, block_size=BLOCK):
        assert len(held) == 1 or sum(blocks(lengths[i]) * BLOCK for i in held) <= budget


@given(many_lengths, budgets)
def test_packs_repeat(lengths: list[int], budget: int) -> None:
    once, again = (pack(lengths, budget=budget, block_size=BLOCK) for _ in range(2))
    assert once == again
