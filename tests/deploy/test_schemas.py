"""Each object of each overlay is one that Kubernetes and the operators take, by their own schemas."""

import copy
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy.manifests import KUBECTL, OVERLAYS, SCHEMAS, of_kind, rayjob, rendered, validate

pytestmark = KUBECTL
REFUSALS = (jsonschema.ValidationError, kubernetes_validate.ValidationError)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_taken(overlay: str) -> None:
    for item in rendered(overlay):
        validate(item)


@pytest.mark.parametrize(
    "place",
    [
        (),
        ("spec",),
        ("spec", "submitterConfig"),
        ("spec", "submitterPodTemplate", "spec"),
        ("spec", "rayClusterSpec"),
        ("spec", "rayClusterSpec", "autoscalerOptions"),
        ("spec", "rayClusterSpec", "headGroupSpec"),
        ("spec", "rayClusterSpec", "workerGroupSpecs", 0),
        ("spec", "rayClusterSpec", "workerGroupSpecs", 1, "template", "spec"),
        ("spec", "rayClusterSpec", "workerGroupSpecs", 1, "template", "spec", "containers", 0),
    ],
)
def test_a_field_that_kuberay_does_not_know_is_refused(place: tuple[str | int, ...]) -> None:
    wrong = copy.deepcopy(rayjob("gpu"))
    at(wrong, place)["concurrencyPolicy"] = "Forbid"
    with pytest.raises(jsonschema.ValidationError, match="concurrencyPolicy"):
        validate(wrong)


@pytest.mark.parametrize(
    ("kind", "name", "place"),
    [
        ("CronJob", "rookery-nightly", ("spec", "jobTemplate", "spec")),
        ("NetworkPolicy", "rookery-head", ("spec", "ingress", 0, "from", 0)),
        ("PodMonitor", "rookery-head", ("spec", "podMetricsEndpoints", 0)),
        ("Role", "rookery-nightly", ("rules", 0)),
    ],
)
def test_a_field_that_nobody_knows_is_refused(kind: str, name: str, place: tuple[str | int, ...]) -> None:
    wrong = copy.deepcopy(of_kind("gpu", kind)[name])
    at(wrong, place)["bogus"] = "x"
    with pytest.raises(REFUSALS, match="bogus"):
        validate(wrong)


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        (("spec",), "backoffLimit", "0"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 1), "minReplicas", "none"),
        (("spec", "rayClusterSpec", "authOptions"), "mode", "password"),
        (("spec", "submitterConfig"), "backoffLimit", 1.5),
    ],
)
def test_a_value_of_another_type_is_refused(place: tuple[str | int, ...], field: str, value: object) -> None:
    wrong = copy.deepcopy(rayjob("gpu"))
    assert field in at(wrong, place)
    at(wrong, place)[field] = value
    with pytest.raises(jsonschema.ValidationError):
        validate(wrong)


def test_kuberays_own_schedule_knows_no_overlap() -> None:
    """Why the schedule is a CronJob: docs/deploy/kubernetes.md says it."""
    schedule = SCHEMAS["ray.io"]["$defs"]["RayCronJob"]["properties"]["spec"]["properties"]
    assert schedule.keys() == {"jobTemplate", "schedule", "suspend", "timeZone"}


def at(item: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        item = item[step]
    return item
