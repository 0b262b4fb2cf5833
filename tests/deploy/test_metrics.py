"""Grafana's dashboard and Prometheus' rules, as promtool reads them. That Ray exports what they ask is scraped in
tests/jobs/test_ray_job_submit.py, from a run."""

import json
import re
from pathlib import Path

import yaml

from tests.conftest import ROOT
from tests.deploy.monitoring import (
    DASHBOARD,
    RULES,
    dashboard_queries,
    metrics_asked,
    needs_promtool,
    panels,
    promtool,
    rules,
)


@needs_promtool
def test_the_rules_are_prometheus_rules():
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stderr
    assert f"SUCCESS: {len(rules())} rules found" in checked.stdout


@needs_promtool
def test_alerts_fire_when_they_should_and_not_otherwise():
    """What each series holds and what comes of it is in alerts.yaml."""
    tested = promtool("test", "rules", str(ROOT / "tests/deploy/alerts.yaml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_case():
    cases = yaml.safe_load((ROOT / "tests/deploy/alerts.yaml").read_text())["tests"]
    fired = {test["alertname"] for case in cases for test in case.get("alert_rule_test", []) if test["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


@needs_promtool
def test_every_query_of_the_dashboard_is_promql(tmp_path: Path):
    """As rules, of which promtool reads the expressions; it has no other way before Prometheus 2.46."""
    queries = [{"record": f"panel:query{number}", "expr": query} for number, query in enumerate(dashboard_queries())]
    (tmp_path / "queries.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": queries}]}))
    checked = promtool("check", "rules", str(tmp_path / "queries.yaml"))
    assert checked.returncode == 0, checked.stderr
    assert f"SUCCESS: {len(queries)} rules found" in checked.stdout


def test_every_panel_says_what_it_shows():
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_panels_lie_beside_each_other_on_24_columns():
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_a_counter_is_asked_for_its_rate_and_a_gauge_is_not():
    """A counter's value starts anew with each run; what a gauge had is nothing to divide by time."""
    gauges = {"ray_rookery_units_left", "ray_rookery_last_unit_timestamp_seconds"}
    for query in [*dashboard_queries(), *(rule["expr"] for rule in rules())]:
        for before, name in re.findall(r"(\w*)\(?(ray_rookery_\w+)", query):
            if name in gauges or name == "ray_rookery_runs_total":
                assert before != "rate", query
            else:
                assert before == "rate", query


def test_the_documentation_has_every_metric_of_a_run_and_every_alert():
    page = (ROOT / "docs/watch.md").read_text()
    asked = {name.removesuffix("_bucket") for name in metrics_asked() if name.startswith("ray_rookery_")}
    assert asked == set(re.findall(r"^\| `(ray_rookery_\w+)`", page, re.MULTILINE))
    assert {rule["alert"] for rule in rules() if "alert" in rule} == set(re.findall(r"`(Rookery[A-Z]\w+)`", page))
