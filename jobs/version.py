"""`rookery version`: what somebody who helps has to know of this installation."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from pipeline.terms import MANIFEST_VERSION, SCORING_VERSION

LIBRARIES = ("torch", "ray", "pyarrow", "tokenizers", "sentencepiece")


def print_version() -> None:
    """Print the versions that decide how this Rookery behaves; loads neither torch nor Ray."""
    print(f"rookery {version('rookery')}  (scoring version {SCORING_VERSION}, manifest version {MANIFEST_VERSION})")
    print(f"python {platform.python_version()}  ({sys.platform}, {platform.machine()})")
    for library in LIBRARIES:
        print(f"{library} {_version_or_none(library)}")


def _version_or_none(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "is not installed"
