"""Paths with wildcards."""

import re
from collections.abc import Callable

import fsspec

from pipeline.errors import ConfigError


def has_wildcards(path: str) -> bool:
    """Tells whether a path has a wildcard (`*`, `?` or `[`)."""
    return bool(fsspec.core.has_magic(path))


def above_wildcards(path: str) -> str:
    """Cuts a path to the folder above its first wildcard; one without wildcards stays whole."""
    fixed, *wild = re.split(r"[*?[]", path, maxsplit=1)
    return fixed.rpartition("/")[0] if wild else path


def matcher(uri: str, pattern: str) -> Callable[[str], re.Match[str] | None]:
    """Compiles the pattern that is the path of `uri`. Raises ConfigError for one that is none."""
    try:
        return re.compile(fsspec.utils.glob_translate(pattern)).match
    except ValueError as error:
        raise ConfigError(
            f"{uri}: `**` stands for folders, between two slashes; write **/*.parquet for **.parquet"
        ) from error


def can_match_below(pattern: str, folder: str) -> bool:
    """Tells whether a pattern can match a path below a folder."""
    segments, names = pattern.split("/"), folder.split("/")
    for segment, name in zip(segments, names, strict=False):
        if segment == "**":
            return True
        if not re.match(fsspec.utils.glob_translate(segment), name):
            return False
    return len(segments) > len(names)
