"""The dashboard's and the rules' queries, and promtool, which reads both."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "deploy/grafana/rookery.json"
RULES = ROOT / "deploy/prometheus/rules.yaml"
METRIC = re.compile(r"\bray_\w+")
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool: deploy/promtool.sh gets it")


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something, without its rows."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[str]:
    """What the panels ask, with a value for each of Grafana's variables."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [query.replace("$__range", "3h").replace("$table", "t") for query in queries]


def rules() -> list[dict[str, Any]]:
    """The recording rules and alerts."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def metrics_asked() -> set[str]:
    """Every metric that a query or a rule names, by its name on Ray's pages."""
    queries = [*dashboard_queries(), *(rule["expr"] for rule in rules())]
    return {name for query in queries for name in METRIC.findall(query)}


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs promtool with `text` on standard input."""
    assert PROMTOOL is not None
    command = [PROMTOOL, *arguments]
    return subprocess.run(command, input=text, text=True, capture_output=True, timeout=60, check=False)
