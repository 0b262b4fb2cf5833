"""rookery.json with a new temperature and new thresholds."""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.bigbird.json_file import JsonFile

NAME = "rookery.json"


def with_decision(folder: Path, thresholds: Mapping[str, float], temperature: float) -> bytes:
    """The file for a checkpoint's folder; whatever else it says there stays. Empty `thresholds`: none are said."""
    path = folder / NAME
    values = dict(JsonFile.read(path).values) if path.is_file() else {}
    values |= {"temperature": temperature, "thresholds": dict(thresholds) or None}
    said = {key: value for key, value in values.items() if value is not None}
    return json.dumps(said, indent=2, ensure_ascii=False).encode() + b"\n"
