from importlib.metadata import version

from hypothesis import given, strategies as st

from jobs.checks.installation import libraries, python

NUMBER = st.integers(0, 30)


def test_a_library_that_is_too_old_or_missing_is_named_with_what_installs_it():
    too_old, missing = list(libraries(["pyarrow>=999", "numpy>=2.0", "no-such-library>=1"]))
    assert (too_old.subject, too_old.state) == ("pyarrow", "failure")
    assert version("pyarrow") in too_old.seen
    assert too_old.advice == 'pip install "pyarrow>=999"'
    assert (missing.subject, missing.state, missing.seen) == ("no-such-library", "failure", "is not installed")


def test_an_extra_may_be_missing_and_warns_where_it_does_not_suit():
    well, *none = libraries(["numpy>=2.0", 'no-such-library>=1; extra == "delta"'])
    assert (well.state, none) == ("ok", [])
    (other,) = libraries(["numpy>=2.0", 'pyarrow>=999; extra == "delta"'])
    assert (other.subject, other.state) == ("pyarrow", "warning")


@given(st.tuples(NUMBER, NUMBER, NUMBER), st.tuples(NUMBER, NUMBER))
def test_python_is_well_from_the_version_on_that_is_wanted(running: tuple[int, int, int], least: tuple[int, int]):
    finding = python(".".join(map(str, running)), f">={least[0]}.{least[1]}")
    assert (finding.state == "ok") is (running[:2] >= least)
