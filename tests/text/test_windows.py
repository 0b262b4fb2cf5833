"""Which tokens of a document each window reads."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from pipeline.terms import LongDocuments
from pipeline.text.windows import Span, WindowPolicy


def spans(policy: WindowPolicy, n_tokens: int) -> list[tuple[Span, ...]]:
    return [window.spans for window in policy.windows(n_tokens)]


@pytest.mark.parametrize(
    ("n_tokens", "expected"),
    [
        (0, [(0, 0)]),
        (3, [(0, 3)]),
        (8, [(0, 8)]),
        (9, [(0, 8), (6, 9)]),
        (14, [(0, 8), (6, 14)]),
        (15, [(0, 8), (6, 14), (12, 15)]),
    ],
    ids=["none", "short", "exactly one", "one more", "exactly two", "two and one more"],
)
def test_windows_share_their_overlap(n_tokens: int, expected: list[Span]) -> None:
    policy = WindowPolicy(max_tokens=10, overlap=2)
    assert spans(policy, n_tokens) == [(span,) for span in expected]


def test_windows_without_overlap_lie_side_by_side() -> None:
    policy = WindowPolicy(max_tokens=10, overlap=0)
    assert spans(policy, 17) == [((0, 8),), ((8, 16),), ((16, 17),)]


@pytest.mark.parametrize(("n_tokens", "stop"), [(3, 3), (8, 8), (9, 8), (1000, 8)])
def test_head_reads_the_first_window_only(n_tokens: int, stop: int) -> None:
    assert spans(WindowPolicy(10, "head"), n_tokens) == [((0, stop),)]


@pytest.mark.parametrize(
    ("max_tokens", "n_tokens", "expected"),
    [
        (10, 8, ((0, 8),)),
        (10, 9, ((0, 4), (5, 9))),
        (10, 1000, ((0, 4), (996, 1000))),
        (11, 1000, ((0, 5), (996, 1000))),
    ],
    ids=["fits", "one more", "long", "odd body"],
)
def test_head_tail_reads_both_ends(max_tokens: int, n_tokens: int, expected: tuple[Span, ...]) -> None:
    assert spans(WindowPolicy(max_tokens, "head_tail"), n_tokens) == [expected]


def test_the_default_is_bigbirds_4096_tokens() -> None:
    windows = WindowPolicy().windows(10_000)
    assert [window.n_tokens for window in windows] == [4096, 4096, 2070]


@pytest.mark.parametrize("overlap", [8, 9, 100])
def test_an_overlap_without_a_way_forward_is_refused(overlap: int) -> None:
    message = rf"text.overlap {overlap}: expected less than max_tokens - 2 = 8"
    with pytest.raises(ValueError, match=message):
        WindowPolicy(max_tokens=10, overlap=overlap)


def test_the_overlap_means_nothing_to_the_other_policies() -> None:
    assert WindowPolicy(10, "head", overlap=128).truncates(9)


@st.composite
def sliding(draw: st.DrawFn) -> WindowPolicy:
    max_tokens = draw(st.integers(3, 80))
    return WindowPolicy(max_tokens, "windows", draw(st.integers(0, max_tokens - 3)))


policies = sliding() | st.builds(WindowPolicy, st.integers(3, 80), st.sampled_from(["head", "head_tail"]))
lengths = st.integers(0, 700)


@given(sliding(), lengths)
def test_windows_reach_from_the_first_token_to_the_last(policy: WindowPolicy, n_tokens: int) -> None:
    found = [window.spans[0] for window in policy.windows(n_tokens)]
    assert found[0][0] == 0
    assert found[-1][1] == n_tokens
    assert {before[1] - after[0] for before, after in pairwise(found)} <= {policy.overlap}


@given(sliding(), lengths)
def test_every_window_reads_something_new(policy: WindowPolicy, n_tokens: int) -> None:
    stops = [window.spans[0][1] for window in policy.windows(n_tokens)]
    assert all(before < after for before, after in pairwise(stops))


@given(policies, lengths)
def test_no_window_is_too_long_or_empty(policy: WindowPolicy, n_tokens: int) -> None:
    for window in policy.windows(n_tokens):
        assert min(n_tokens, 1) < window.n_tokens - 1 <= policy.max_tokens - 1


@given(policies, lengths)
def test_all_but_the_last_window_are_full(policy: WindowPolicy, n_tokens: int) -> None:
    *full, _ = policy.windows(n_tokens)
    assert {window.n_tokens for window in full} <= {policy.max_tokens}


@given(policies, lengths)
def test_spans_of_a_window_lie_in_order_and_apart(policy: WindowPolicy, n_tokens: int) -> None:
    for window in policy.windows(n_tokens):
        bounds = [bound for span in window.spans for bound in span]
        assert bounds == sorted(bounds)
        assert 0 <= bounds[0] <= bounds[-1] <= n_tokens


@given(policies, lengths)
def test_truncated_means_that_a_token_is_in_no_window(policy: WindowPolicy, n_tokens: int) -> None:
    spans = [span for window in policy.windows(n_tokens) for span in window.spans]
    read = {token for start, stop in spans for token in range(start, stop)}
    assert policy.truncates(n_tokens) == (read != set(range(n_tokens)))


@pytest.mark.parametrize("how", ["head", "head_tail"])
def test_a_document_of_exactly_one_window_is_not_truncated(how: LongDocuments) -> None:
    assert [WindowPolicy(10, how).truncates(n) for n in (7, 8, 9)] == [False, False, True]


@pytest.mark.parametrize("how", ["windows", "head", "head_tail"])
def test_short_documents_are_read_the_same_by_every_policy(how: LongDocuments) -> None:
    assert spans(WindowPolicy(10, how, overlap=1), 8) == [((0, 8),)]
