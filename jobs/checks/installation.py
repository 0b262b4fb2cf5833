"""Whether Python and the libraries are those that this Rookery is made for, by what its own package says."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from jobs.checks.examination import Check
from jobs.finding import Finding

NAMED = ("torch", "ray", "pyarrow")  # of those that are well


def installation_checks() -> list[Check]:
    """Lists the checks of what is installed here."""
    reinstall = "install Rookery again, with its constraints: see docs/quickstart.md"
    return [
        Check("Python", lambda: [python(platform.python_version(), metadata("rookery")["Requires-Python"])], reinstall),
        Check("libraries", lambda: libraries(requires("rookery") or []), reinstall),
    ]


def python(running: str, wanted: str) -> Finding:
    """Looks at Python's version."""
    if SpecifierSet(wanted).contains(running, prereleases=True):
        return Finding("Python", "ok", running)
    return Finding("Python", "failure", f"{running}, and Rookery takes {wanted}", f"take a Python {wanted}")


def libraries(wanted: list[str]) -> Iterator[Finding]:
    """Looks at each library that `wanted` names as packages do (`torch>=2.11,<2.14`): one line for all that are well.

    One of an extra may be missing; where it is there in a version that doesn't suit, that is a warning.
    """
    requirements = [Requirement(text) for text in wanted]
    needed = [each for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]
    problems = [*filter(None, (_problem(each, "failure") for each in needed))]
    extras = [each for each in requirements if each not in needed]
    problems += filter(None, (_problem(each, "warning") for each in extras if installed(each.name)))
    named = ", ".join(f"{name} {installed(name)}" for name in NAMED if installed(name))
    if not problems:
        yield Finding("libraries", "ok", f"{len(needed)} in the versions that Rookery takes: {named}")
    yield from problems


def installed(name: str) -> str | None:
    """Gives the version of a package that is installed; None where it isn't."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _problem(wanted: Requirement, state: str) -> Finding | None:
    there = installed(wanted.name)
    if there and wanted.specifier.contains(there, prereleases=True):
        return None
    seen = f"is {there}, and Rookery takes {wanted.specifier}" if there else "is not installed"
    advice = f'pip install "{wanted.name}{wanted.specifier}"'
    return Finding(wanted.name, "warning" if state == "warning" else "failure", seen, advice)
