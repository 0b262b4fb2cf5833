import time

from pipeline.cluster.watch import Watch


def lines(explain, every_s: float, progress_every_s: float, seconds: float) -> list[str]:
    told: list[str] = []
    with Watch(explain, told.append, every_s) as watch:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(progress_every_s)
            watch.progress()
    return told


def test_it_says_what_is_waited_for_again_and_again() -> None:
    told: list[str] = []
    with Watch(lambda: "readers", told.append, 0.05):
        deadline = time.monotonic() + 20
        while len(told) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(told) >= 3
    assert told[0].endswith(": readers")


def test_it_is_silent_where_units_end() -> None:
    assert not lines(lambda: "nothing", 10.0, 0.01, 0.3)


def test_what_it_can_not_find_out_is_what_it_says() -> None:
    told: list[str] = []

    def explain() -> str:
        raise OSError("the store does not answer")

    with Watch(explain, told.append, 0.05):
        deadline = time.monotonic() + 20
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    assert told[0].endswith("the store does not answer")
