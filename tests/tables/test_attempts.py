from pathlib import Path

import pytest

from pipeline.storage import Storage
from pipeline.tables.attempts import Attempts
from pipeline.tables.fragments import Fragments


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(Fragments(Storage(), str(tmp_path), "key"), "read")


def test_a_first_attempt_finds_no_mark_and_leaves_none(attempts: Attempts) -> None:
    for _ in range(2):
        with attempts.begun("aa11") as before:
            assert not before
            assert Path(attempts.uri("aa11")).exists()
    assert not Path(attempts.uri("aa11")).exists()


def test_an_attempt_that_was_cut_off_is_seen_by_the_next_one(attempts: Attempts) -> None:
    cut_off = attempts.begun("aa11")
    assert not cut_off.__enter__()
    with attempts.begun("aa11") as before:
        assert before
    with attempts.begun("aa11") as before:
        assert not before


def test_an_error_leaves_no_mark(attempts: Attempts) -> None:
    with pytest.raises(KeyError), attempts.begun("aa11"):
        raise KeyError
    assert not Path(attempts.uri("aa11")).exists()


def test_marks_are_no_fragments(attempts: Attempts) -> None:
    with attempts.begun("aa11"):
        assert attempts.fragments.done() == set()


def test_stages_do_not_see_each_others_marks(attempts: Attempts) -> None:
    with attempts.begun("aa11"), Attempts(attempts.fragments, "predict").begun("aa11") as before:
        assert not before
