"""Marks of units, on local disk and on a real S3 server."""

from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.config.label import StorageSettings
from pipeline.schema import DOCUMENT_LOGITS
from pipeline.storage.listings import StoredFile
from pipeline.storage.objects import Storage
from pipeline.tables import heartbeats
from pipeline.tables.attempts import Attempts, mark_note, remove_marks_of_run, sweep_marks
from pipeline.tables.fragments import Fragments
from pipeline.tables.heartbeats import Heartbeats
from tests.s3 import S3Server

UNIT = "aa11"


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def fragments(request: pytest.FixtureRequest, tmp_path: Any) -> Fragments:
    if request.param == "local":
        return Fragments(Storage(), str(tmp_path), "key", DOCUMENT_LOGITS)
    server: S3Server = request.getfixturevalue("s3")
    storage = Storage(StorageSettings(endpoint_url=server.endpoint))
    return Fragments(storage, f"s3://{server.new_bucket()}/table", "key", DOCUMENT_LOGITS)


def left_in(fragments: Fragments) -> set[str]:
    """Names of all that lies beside the fragments."""
    return {uri.rpartition("/")[2] for uri in fragments.listing().others}


def cut_off(fragments: Fragments, run: str = "", unit: str = UNIT) -> None:
    """An attempt whose process ended: nobody removes its mark."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "delete", lambda *_: None)
        with Attempts(fragments, "read", run).attempt(unit) as before:
            assert not before


def test_a_first_attempt_finds_no_mark_and_leaves_none(fragments: Fragments):
    for _ in range(2):
        with Attempts(fragments, "read", "run").attempt(UNIT) as before:
            assert not before
            assert left_in(fragments) == {"aa11.read.begun"}
    assert not left_in(fragments)


@pytest.mark.parametrize("run", ["", "run"])
def test_an_attempt_that_was_cut_off_is_seen_by_the_next_one(fragments: Fragments, run: str):
    cut_off(fragments, run)
    for expected in (True, False):
        with Attempts(fragments, "read", run).attempt(UNIT) as before:
            assert before is expected


def test_an_error_leaves_no_mark(fragments: Fragments):
    with pytest.raises(KeyError), Attempts(fragments, "read", "run").attempt(UNIT):
        raise KeyError
    assert not left_in(fragments)


def test_marks_are_no_fragments(fragments: Fragments):
    with Heartbeats(fragments).beating() as run, Attempts(fragments, "read", run).attempt(UNIT):
        assert fragments.finished() == set()


def test_stages_do_not_see_each_others_marks(fragments: Fragments):
    read, predict = (Attempts(fragments, stage, "run") for stage in ("read", "predict"))
    with read.attempt(UNIT), predict.attempt(UNIT) as before:
        assert not before


def test_a_unit_that_another_run_is_busy_with_is_no_suspect(fragments: Fragments):
    with Heartbeats(fragments).beating() as one, Heartbeats(fragments).beating() as two:
        with Attempts(fragments, "read", one).attempt(UNIT):
            with Attempts(fragments, "read", two).attempt(UNIT) as before:
                assert not before
                assert left_in(fragments) >= {"aa11.read.begun", f"aa11.read.{two}.begun"}
            assert left_in(fragments) == {"aa11.read.begun", one, two}
        assert left_in(fragments) == {one, two}
    assert not left_in(fragments)


def test_beside_a_busy_neighbour_a_run_sees_its_own_death(fragments: Fragments):
    with Heartbeats(fragments).beating() as one, Heartbeats(fragments).beating() as two:
        with Attempts(fragments, "read", one).attempt(UNIT):
            cut_off(fragments, two)
            with Attempts(fragments, "read", two).attempt(UNIT) as before:
                assert before
            assert left_in(fragments) == {"aa11.read.begun", one, two}
        cut_off(fragments, one)
        with Attempts(fragments, "read", one).attempt(UNIT) as before:
            assert before


def test_a_run_that_ended_leaves_a_suspect(fragments: Fragments):
    with Heartbeats(fragments).beating() as one:
        cut_off(fragments, one)
    with (
        Heartbeats(fragments).beating() as two,
        Attempts(fragments, "read", two).attempt(UNIT) as before,
    ):
        assert before


def test_a_run_that_died_is_told_by_the_store_s_clock(fragments: Fragments, monkeypatch: pytest.MonkeyPatch):
    """Whatever the clock of this machine says."""
    storage = fragments.storage
    monkeypatch.setattr("time.time", lambda: 0.0)
    storage.put(Heartbeats(fragments).uri("dead"), b"")
    while True:  # stores that count in whole seconds
        storage.put(Heartbeats(fragments).uri("living"), b"")
        dead, living = storage.find(Heartbeats(fragments).folder)
        if living.modified >= dead.modified + 1:
            break
    assert Heartbeats(fragments).alive() == {"dead", "living"}
    monkeypatch.setattr(heartbeats, "ALIVE_SECONDS", 1.0)
    assert Heartbeats(fragments).alive() == {"living"}


def test_a_run_beats(fragments: Fragments, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heartbeats, "BEAT_SECONDS", 0.01)
    with Heartbeats(fragments).beating() as run:
        first = fragments.storage.stat(Heartbeats(fragments).uri(run))
        assert first
        while (now := fragments.storage.stat(Heartbeats(fragments).uri(run))) is None or (
            now.modified == first.modified
        ):
            pass


def test_many_questions_about_a_neighbour_are_one_listing(fragments: Fragments, monkeypatch: pytest.MonkeyPatch):
    listed = []
    find = Storage.find

    def counted(self: Storage, uri: str) -> Sequence[StoredFile]:
        listed.append(uri)
        return find(self, uri)

    monkeypatch.setattr(Storage, "find", counted)
    with Heartbeats(fragments).beating() as one, Heartbeats(fragments).beating() as two:
        for unit in ("aa11", "bb22", "cc33"):
            theirs = Attempts(fragments, "read", one).attempt(unit)
            with theirs, Attempts(fragments, "read", two).attempt(unit) as before:
                assert not before
    assert listed == [Heartbeats(fragments).folder]


def test_what_dead_runs_left_is_swept(fragments: Fragments, monkeypatch: pytest.MonkeyPatch):
    storage = fragments.storage
    with Heartbeats(fragments).beating() as living:
        cut_off(fragments, "dead", "aa11")
        cut_off(fragments, "dead", "bb22")
        cut_off(fragments, living, "cc33")
        sweep_marks(fragments, fragments.listing().others, {"aa11"})
        assert left_in(fragments) == {"aa11.read.begun", "cc33.read.begun", living}
    storage.put(Heartbeats(fragments).uri("late"), b"")
    found = fragments.listing().others
    storage.delete(Attempts(fragments, "read").uri("cc33"))  # by its own run, meanwhile
    sweep_marks(fragments, found, set())
    assert left_in(fragments) == {"late"}  # nobody can tell yet
    monkeypatch.setattr(heartbeats, "ALIVE_SECONDS", 0.0)
    sweep_marks(fragments, found, set())
    assert not left_in(fragments)


def test_where_nothing_is_left_nothing_is_asked(fragments: Fragments, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(Storage, "put")
    monkeypatch.delattr(Storage, "find")
    sweep_marks(fragments, [], set())


def test_what_a_run_gives_up_in_order_is_under_no_suspicion(fragments: Fragments):
    cut_off(fragments, "one")
    cut_off(fragments, "other", "bb22")
    remove_marks_of_run(fragments, "one", 1)
    assert left_in(fragments) == {"bb22.read.begun"}
    with Attempts(fragments, "read", "next").attempt(UNIT) as before:
        assert not before


def test_a_mark_says_what_is_done(fragments: Fragments):
    attempts = Attempts(fragments, "read", "one")
    with attempts.attempt(UNIT, "12 tokens, the longest document has 7"):
        mark = fragments.storage.read(attempts.uri(UNIT))
    assert mark_note(mark) == "12 tokens, the longest document has 7"
