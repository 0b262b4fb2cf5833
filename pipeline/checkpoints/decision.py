"""rookery.json with a new temperature and new thresholds."""

import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.checkpoints.json_file import JsonFile

ROOKERY_JSON = "rookery.json"


def with_decision(folder: Path, thresholds: Mapping[str, float], temperature: float) -> bytes:
    """The file for a checkpoint's folder; whatever else it says there stays, other labels' thresholds too."""
    path = folder / ROOKERY_JSON
    file = JsonFile.read(path) if path.is_file() else JsonFile(path, {})
    settings = {key: value for key, value in file.values.items() if value is not None}
    settings["temperature"] = temperature
    if merged := {**file.nested("thresholds").values, **thresholds}:
        settings["thresholds"] = merged
    return json.dumps(settings, indent=2, ensure_ascii=False).encode() + b"\n"
