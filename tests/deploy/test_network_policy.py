"""Who may reach whom, worked out from the policies as Kubernetes defines them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.manifests import KUBECTL, of_kind, rayjob

pytestmark = KUBECTL
PART = {"app.kubernetes.io/part-of": "rookery"}
PODS = {
    component: PART | {"app.kubernetes.io/component": component}
    for component in ("head", "worker", "submitter", "nightly")
}
OTHERS = {"operator": "kuberay-system", "prometheus": "monitoring", "dns": "kube-system", "neighbour": "elsewhere"}
DNS = {"k8s-app": "kube-dns"}
INTERNET = "internet"
ANY = 10002  # one of those that Ray's workers take


def labels(pod: str) -> dict[str, str]:
    return PODS.get(pod) or (DNS if pod == "dns" else {})


def namespace(pod: str) -> dict[str, str]:
    return {"kubernetes.io/metadata.name": OTHERS.get(pod, "rookery")}


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )


def is_peer(peer: dict[str, Any], pod: str) -> bool:
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    if pod == INTERNET:
        return False
    own = {
        "matchLabels": {"kubernetes.io/metadata.name": "rookery"}
    }  # without a namespace's selector: the policy's own
    return matches(peer.get("namespaceSelector", own), namespace(pod)) and matches(
        peer.get("podSelector", {}), labels(pod)
    )


def rules(pod: str, direction: str) -> Iterator[list[dict[str, Any]]]:
    """Of each policy that holds for a pod in this direction, its rules."""
    for policy in of_kind("gpu", "NetworkPolicy").values():
        spec = policy["spec"]
        if direction.capitalize() in spec["policyTypes"] and matches(spec["podSelector"], labels(pod)):
            yield spec.get(direction, [])


def lets(pod: str, direction: str, other: str, protocol: str, port: int) -> bool:
    if pod not in PODS:
        return True  # not ours to close
    holding = list(rules(pod, direction))
    assert holding, f"nothing closes {pod}"
    side = "from" if direction == "ingress" else "to"
    return any(
        (side not in rule or any(is_peer(peer, other) for peer in rule[side]))
        and ("ports" not in rule or any((each["protocol"], each["port"]) == (protocol, port) for each in rule["ports"]))
        for policy_rules in holding
        for rule in policy_rules
    )


def reaches(source: str, target: str, port: int, protocol: str = "TCP") -> bool:
    return lets(source, "egress", target, protocol, port) and lets(target, "ingress", source, protocol, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("head", "worker", ANY),
        ("worker", "head", 6379),
        ("worker", "worker", ANY),
        ("submitter", "head", 8265),
        ("operator", "head", 8265),
        ("prometheus", "head", 8080),
        ("prometheus", "head", 44217),
        ("prometheus", "head", 44227),
        ("prometheus", "worker", 8080),
        ("head", INTERNET, 443),
        ("worker", INTERNET, 443),
        ("head", INTERNET, 6443),
        ("nightly", INTERNET, 443),
        ("nightly", INTERNET, 6443),
    ],
)
def test_what_a_run_needs_is_open(source: str, target: str, port: int) -> None:
    assert reaches(source, target, port)


@pytest.mark.parametrize("source", ["head", "worker", "submitter"])
def test_names_are_found(source: str) -> None:
    assert reaches(source, "dns", 53, "UDP")
    assert reaches(source, "dns", 53, "TCP")


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("neighbour", "head", 8265),
        ("neighbour", "head", 6379),
        ("neighbour", "worker", ANY),
        ("neighbour", "head", 8080),
        ("operator", "worker", ANY),
        ("operator", "head", 6379),
        ("submitter", "head", 6379),
        ("submitter", "worker", ANY),
        ("submitter", INTERNET, 443),
        ("nightly", "head", 8265),
        ("prometheus", "head", 8265),
        ("worker", "neighbour", 5432),
        ("head", "neighbour", 5432),
        ("worker", INTERNET, 80),  # the node's metadata, and with it the node's own rights
        ("worker", INTERNET, 6443),
        ("head", INTERNET, 25),
        (INTERNET, "head", 8265),
        (INTERNET, "worker", ANY),
    ],
)
def test_nothing_else_is(source: str, target: str, port: int) -> None:
    assert not reaches(source, target, port)


def test_the_policies_know_the_pods_by_their_labels() -> None:
    spec = rayjob("gpu")["spec"]
    cluster = spec["rayClusterSpec"]
    (nightly,) = of_kind("gpu", "CronJob").values()
    templates = {
        "submitter": [spec["submitterPodTemplate"]],
        "head": [cluster["headGroupSpec"]["template"]],
        "worker": [group["template"] for group in cluster["workerGroupSpecs"]],
        "nightly": [nightly["spec"]["jobTemplate"]["spec"]["template"]],
    }
    assert templates.keys() == PODS.keys()
    for component, pods in templates.items():
        assert [pod["metadata"]["labels"] for pod in pods] == [PODS[component]] * len(pods)
