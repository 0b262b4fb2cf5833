"""Folders named by partition values."""

from urllib.parse import quote

from pipeline.schema import HIVE_NULL


def partition_path(values: list[tuple[str, str | None]]) -> str:
    """Names the hive folders for partition values, escaped so that no value can leave its folder: `a=1/b=x%2Fy/`."""
    return "".join(f"{quote(key, safe='')}={_escaped(value)}/" for key, value in values)


def _escaped(value: str | None) -> str:
    if value == HIVE_NULL:  # a value that is called so, and not null
        return value.replace("_", "%5F", 1)
    return quote(value, safe=" ") if value else HIVE_NULL
