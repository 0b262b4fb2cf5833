"""What `kubectl apply -k` would send, and what judges it without a cluster."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.conftest import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = tuple(sorted(path.name for path in (KUBERNETES / "overlays").iterdir()))
VERSIONS = ("1.31", kubernetes_validate.latest_version().rpartition(".")[0])  # of Kubernetes: an old one, the newest
KUBECTL = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl, which has kustomize in it, is not installed")
SCHEMAS = {
    group: json.loads((Path(__file__).parent / "schemas" / file).read_text())
    for group, file in (("ray.io", "kuberay.json"), ("monitoring.coreos.com", "prometheus-operator.json"))
}


@cache
def rendered(overlay: str) -> tuple[dict[str, Any], ...]:
    """An overlay's objects."""
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    built = subprocess.run(command, text=True, capture_output=True, check=True)
    assert not built.stderr
    return tuple(yaml.load_all(built.stdout, Loader=yaml.CSafeLoader))


def of_kind(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    """An overlay's objects of one kind, by name."""
    return {item["metadata"]["name"]: item for item in rendered(overlay) if item["kind"] == kind}


def rayjob(overlay: str) -> dict[str, Any]:
    (only,) = of_kind(overlay, "RayJob").values()
    return only


def worker_groups(overlay: str) -> dict[str, dict[str, Any]]:
    groups = rayjob(overlay)["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return {group["groupName"]: group for group in groups}


def pod_templates(node: Any) -> Iterator[dict[str, Any]]:
    """Every pod's template, however deep."""
    if isinstance(node, dict):
        if "containers" in node.get("spec", {}):
            yield node
        for child in node.values():
            yield from pod_templates(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from pod_templates(child)


def validate(item: dict[str, Any]) -> None:
    """Raises what Kubernetes would refuse, unknown fields too."""
    schema = SCHEMAS.get(item["apiVersion"].partition("/")[0])
    if schema is None:
        for version in VERSIONS:
            kubernetes_validate.validate(item, version, strict=True)
        return
    judge = jsonschema.Draft202012Validator(schema | {"$ref": f"#/$defs/{item['kind']}"})
    if error := jsonschema.exceptions.best_match(judge.iter_errors(item)):
        raise error
    for template in pod_templates(item):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}
        for version in VERSIONS:
            kubernetes_validate.validate(pod, version, strict=True)
