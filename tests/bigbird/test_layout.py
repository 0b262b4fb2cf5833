import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from pipeline.bigbird.layout import Layout
from pipeline.bigbird.model_config import EncoderConfig
from tests.bigbird.configs import encoder_config


def seen_blocks(layout: Layout) -> dict[int, dict[int, float]]:
    """Query block -> its key blocks and the bias on each block's first key, read from the groups.

    Fails where a query block is listed twice, or a key block twice for one query block.
    """
    seen: dict[int, dict[int, float]] = {}
    for group in layout.groups:
        bias_GKb = group.bias_GS.view(len(group.window_G), -1, layout.block_size)
        for queries, keys, bias_Kb in zip(
            group.query_block_GQ.tolist(), group.key_block_GK.tolist(), bias_GKb, strict=True
        ):
            used = [(key, float(bias_b[0])) for key, bias_b in zip(keys, bias_Kb, strict=True) if bias_b[0] > -math.inf]
            assert len(dict(used)) == len(used)
            for query in queries:
                assert query not in seen
                seen[query] = dict(used)
    return seen


def rule(lengths: list[int], config: EncoderConfig) -> dict[int, dict[int, float]]:
    """What `seen_blocks` gives, from the rule (docs/encoder.md), one window and one block at a time."""
    seen: dict[int, dict[int, float]] = {}
    first = 0
    for length in lengths:
        blocks = math.ceil(length / config.block_size)
        for i in range(blocks):
            keys = {first + key: 0.0 for key in range(blocks)}
            if length > (5 + 2 * config.random_blocks) * config.block_size and 0 < i < blocks - 1:
                keys = {first + key: 0.0 for key in (0, i - 1, i, i + 1, blocks - 1)}
                keys[first] = math.log(1 + config.random_blocks)
            seen[first + i] = keys
        first += blocks
    return seen


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 700), min_size=1, max_size=8),
    block_size=st.sampled_from([16, 17, 32, 64]),
    random_blocks=st.integers(1, 3),
)
def test_every_block_sees_what_the_rule_says(lengths: list[int], block_size: int, random_blocks: int) -> None:
    config = encoder_config(block_size=block_size, random_blocks=random_blocks)
    seen, expected = seen_blocks(Layout.of(lengths, config)), rule(lengths, config)
    assert {query: set(keys) for query, keys in seen.items()} == {query: set(keys) for query, keys in expected.items()}
    for query, keys in expected.items():
        assert seen[query] == pytest.approx(keys, abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_no_key_past_the_end_of_its_window_is_seen(lengths: list[int]) -> None:
    layout = Layout.of(lengths, encoder_config(block_size=16))
    is_real_T = torch.zeros(layout.rows, dtype=torch.bool)
    is_real_T[layout.row_N] = True
    for group in layout.groups:
        row_GS = group.key_block_GK[..., None] * 16 + torch.arange(16)
        seen_GS = group.bias_GS > -math.inf
        assert bool(is_real_T[row_GS.flatten(1)][seen_GS].all())
        assert bool(seen_GS.any(1).all())  # a softmax over nothing would be NaN


def test_a_short_and_a_long_window() -> None:
    # r = 1: full attention up to 7 blocks of 16, that is 112 tokens.
    layout = Layout.of([20, 113], encoder_config(block_size=16, random_blocks=1))
    assert layout.blocks_W.tolist() == [2, 8]
    assert layout.first_row_W.tolist() == [0, 32]
    assert layout.rows == 160
    short, long = layout.wide
    assert short.query_block_GQ.tolist() == short.key_block_GK.tolist() == [[0, 1]]
    assert long.query_block_GQ.tolist() == [[2, 9]]
    assert long.key_block_GK.tolist() == [[2, 3, 4, 5, 6, 7, 8, 9]]
    middle = layout.middle
    assert middle is not None
    assert middle.query_block_GQ.flatten().tolist() == [3, 4, 5, 6, 7, 8]
    assert middle.key_block_GK[2].tolist() == [2, 4, 5, 6, 9]


def test_positions_restart_and_padding_has_position_0() -> None:
    layout = Layout.of([3, 17], encoder_config(block_size=16))
    assert layout.position_T[:16].tolist() == [0, 1, 2, *[0] * 13]
    assert layout.position_T[16:].tolist() == [*range(17), *[0] * 15]
    assert layout.row_N.tolist() == [0, 1, 2, *range(16, 33)]


def test_spread_puts_every_token_in_its_row() -> None:
    layout = Layout.of([2, 1], encoder_config(block_size=2))
    assert layout.spread(torch.tensor([7, 8, 9])).tolist() == [7, 8, 9, 0]


@pytest.mark.parametrize("length", [704, 705], ids=["last full", "first sparse"])
def test_the_limit_of_full_attention_is_taken_before_rounding_up(length: int) -> None:
    layout = Layout.of([length], encoder_config())
    assert (layout.middle is None) == (length == 704)


def test_original_full_has_no_middle() -> None:
    layout = Layout.of([4096], encoder_config(attention_type="original_full"))
    assert layout.middle is None
    assert layout.wide[0].query_block_GQ.shape == (1, 64)


@pytest.mark.parametrize(
    "lengths",
    [[], [0], [5, 0], [4097], [-1], [[1]], [1.5]],
    ids=["none", "zero", "one zero", "too long", "negative", "two axes", "fraction"],
)
def test_lengths_that_cannot_be_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Layout.of(lengths, encoder_config())


def test_lengths_of_any_integer_type_are_taken() -> None:
    for dtype in (np.uint16, np.int32, np.uint64):
        assert Layout.of(np.array([5], dtype=dtype), encoder_config()).length_W.tolist() == [5]
