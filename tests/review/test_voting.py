from collections import Counter

from hypothesis import given, strategies as st

from pipeline.review.voting import Labels, agreed_label, agreed_labels

one = st.sampled_from("abc").map(lambda label: frozenset({label}))
several = st.frozensets(st.sampled_from("abc"))


@given(votes=st.lists(one, min_size=1))
def test_one_label_is_what_most_say(votes: list[Labels]):
    counts = Counter(label for vote in votes for label in vote)
    most = [label for label, count in counts.items() if count == max(counts.values())]
    assert agreed_label(votes) == (frozenset(most) if len(most) == 1 else None)


@given(votes=st.lists(several, min_size=1))
def test_several_labels_are_each_what_more_than_half_say(votes: list[Labels]):
    shares = {label: sum(label in vote for vote in votes) / len(votes) for label in "abc"}
    expected = None if 0.5 in shares.values() else {label for label, share in shares.items() if share > 0.5}
    assert agreed_labels(votes) == expected
