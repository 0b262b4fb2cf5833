"""The Kubernetes manifests fit each other, the image and the job file; all that can be known without a cluster."""

import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from pipeline.config.label import Job, parse_job
from tests.conftest import ROOT
from tests.deploy.manifests import KUBECTL, OVERLAYS, of_kind, pod_templates, rayjob, rendered, worker_groups

pytestmark = [KUBECTL, pytest.mark.parametrize("overlay", OVERLAYS)]
UID = 10001  # the image's user; test_dockerfile.py holds the image to it
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SPOT = {
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
    "cloud.google.com/gke-spot": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
}


def job(overlay: str) -> Job:
    return parse_job(of_kind(overlay, "ConfigMap")["rookery-job"]["data"]["job.yaml"], [])


def head(overlay: str) -> dict[str, Any]:
    return dict(rayjob(overlay)["spec"]["rayClusterSpec"]["headGroupSpec"])


def mounted_files(overlay: str, pod: dict[str, Any]) -> Iterator[PurePosixPath]:
    """The files that the pod's containers see in its ConfigMaps."""
    maps = of_kind(overlay, "ConfigMap")
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod.get("volumes", [])}
    for container in pod["containers"]:
        for mount in container.get("volumeMounts", []):
            for file in maps[volumes[mount["name"]]]["data"]:
                yield PurePosixPath(mount["mountPath"]) / file


def test_everything_is_in_one_namespace(overlay: str) -> None:
    assert {item["metadata"]["namespace"] for item in rendered(overlay)} == {"rookery"}


# ── the RayJob ──────────────────────────────────────────────────────────────────────────────────


def test_the_template_runs_nothing_itself(overlay: str) -> None:
    spec = rayjob(overlay)["spec"]
    assert spec["suspend"] is True
    assert spec["shutdownAfterJobFinishes"] is True  # KubeRay refuses the one without the other
    assert spec["ttlSecondsAfterFinished"] > 0


def test_only_who_knows_exit_codes_tries_again(overlay: str) -> None:
    spec = rayjob(overlay)["spec"]
    assert (spec["backoffLimit"], spec["submitterConfig"]["backoffLimit"]) == (0, 0)


def test_entrypoint_is_there_and_finds_its_job_file(overlay: str) -> None:
    python, flag, module, *arguments = rayjob(overlay)["spec"]["entrypoint"].split()
    assert (python, flag) == ("python", "-m")
    assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()
    option, file = arguments
    assert option == "--config"
    assert PurePosixPath(file) in set(mounted_files(overlay, head(overlay)["template"]["spec"]))


def test_no_work_lands_on_the_head(overlay: str) -> None:
    assert head(overlay)["rayStartParams"]["num-cpus"] == "0"


def test_gpus_start_from_zero_and_text_does_not(overlay: str) -> None:
    assert rayjob(overlay)["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    groups = worker_groups(overlay)
    assert groups.keys() == ({"text"} if overlay == "cpu" else {"text", "gpu"})
    assert groups["text"]["minReplicas"] > 0
    for group in groups.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert overlay == "cpu" or groups["gpu"]["replicas"] == groups["gpu"]["minReplicas"] == 0


def test_ray_is_the_version_that_the_image_has(overlay: str) -> None:
    series = next(each for each in PROJECT["dependencies"] if each.startswith("ray[")).partition("==")[2].rstrip("*")
    assert rayjob(overlay)["spec"]["rayClusterSpec"]["rayVersion"].startswith(series)


def test_every_port_of_ray_asks_for_a_token(overlay: str) -> None:
    assert rayjob(overlay)["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


# ── spot nodes ──────────────────────────────────────────────────────────────────────────────────


def node_terms(pod: dict[str, Any]) -> list[list[tuple[str, str, list[str]]]]:
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [[(each["key"], each["operator"], each["values"]) for each in term["matchExpressions"]] for term in terms]


def test_only_gpus_are_on_spot_nodes(overlay: str) -> None:
    kept = [head(overlay)["template"]["spec"], worker_groups(overlay)["text"]["template"]["spec"]]
    if overlay != "spot":
        assert all("affinity" not in pod for pod in kept)
        return
    gpu = worker_groups(overlay)["gpu"]["template"]["spec"]
    assert node_terms(gpu) == [[(key, "In", [value])] for key, value in SPOT.items()]
    for pod in kept:
        assert node_terms(pod) == [[(key, "NotIn", [value]) for key, value in SPOT.items()]]
        assert "tolerations" not in pod


def test_ray_drains_a_spot_node_within_what_kubernetes_grants(overlay: str) -> None:
    pods = [group["template"]["spec"] for group in worker_groups(overlay).values()]
    drains = [
        (int(variable["value"]), pod["terminationGracePeriodSeconds"])
        for pod in pods
        for variable in pod["containers"][0].get("env", [])
        if variable["name"] == "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
    ]
    assert len(drains) == (overlay == "spot")
    assert all(5 < drain <= grace - 5 for drain, grace in drains)
    from ray._private import ray_constants  # it is Ray's name for it

    assert hasattr(ray_constants, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S")


# ── the job file ────────────────────────────────────────────────────────────────────────────────


def test_job_joins_the_cluster_and_fits_it(overlay: str) -> None:
    assert job(overlay).ray.address == "auto"
    compute = job(overlay).compute
    group = worker_groups(overlay)["text" if overlay == "cpu" else "gpu"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    most = compute.max_actors or compute.actors
    if overlay == "cpu":
        assert compute.num_gpus == 0
        per_node = int(limits["cpu"]) // (int(compute.num_cpus or 1) + 1)  # and a core for who reads and writes
        assert most <= group["maxReplicas"] * per_node
    else:
        assert most * compute.num_gpus == group["maxReplicas"] * int(limits["nvidia.com/gpu"])


# ── every pod ───────────────────────────────────────────────────────────────────────────────────


def test_pods_run_as_the_images_user_without_privileges(overlay: str) -> None:
    for template in pod_templates(rendered(overlay)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == UID
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_images_are_of_this_version(overlay: str) -> None:
    images = {each["image"] for template in pod_templates(rendered(overlay)) for each in template["spec"]["containers"]}
    variants = {"cpu"} if overlay == "cpu" else {"cpu", "cuda"}
    assert images == {f"registry.example.com/rookery:{PROJECT['version']}-{variant}" for variant in variants}


def test_pods_say_what_they_take(overlay: str) -> None:
    for template in pod_templates(rendered(overlay)):
        for container in template["spec"]["containers"]:
            for bound in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][bound])


def test_what_pods_refer_to_exists(overlay: str) -> None:
    accounts = of_kind(overlay, "ServiceAccount")
    for template in pod_templates(rendered(overlay)):
        pod = template["spec"]
        assert "serviceAccountName" not in pod or pod["serviceAccountName"] in accounts
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        assert {mount["name"] for each in pod["containers"] for mount in each.get("volumeMounts", [])} == volumes
        assert all(list(mounted_files(overlay, pod)) for _ in volumes)


# ── the nightly run ─────────────────────────────────────────────────────────────────────────────


def test_nights_do_not_overlap(overlay: str) -> None:
    (cronjob,) = of_kind(overlay, "CronJob").values()
    assert cronjob["spec"]["concurrencyPolicy"] == "Forbid"
    assert rayjob(overlay)["spec"]["activeDeadlineSeconds"] < 24 * 3600


def test_nightly_pod_finds_its_script_and_the_template(overlay: str) -> None:
    (template,) = pod_templates(of_kind(overlay, "CronJob"))
    python, script = template["spec"]["containers"][0]["command"]
    assert python == "python"
    assert PurePosixPath(script) in set(mounted_files(overlay, template["spec"]))
    code = of_kind(overlay, "ConfigMap")["rookery-nightly"]["data"][PurePosixPath(script).name]
    names: dict[str, Any] = {"__name__": "nightly"}
    exec(compile(code, "nightly.py", "exec"), names)
    assert names["TEMPLATE"] == rayjob(overlay)["metadata"]["name"]


def test_nightly_account_may_create_and_see_rayjobs_and_nothing_else(overlay: str) -> None:
    (role,), (binding,) = of_kind(overlay, "Role").values(), of_kind(overlay, "RoleBinding").values()
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    (template,) = pod_templates(of_kind(overlay, "CronJob"))
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [template["spec"]["serviceAccountName"]]
    assert [subject["namespace"] for subject in binding["subjects"]] == ["rookery"]


# ── watching ────────────────────────────────────────────────────────────────────────────────────


def test_prometheus_scrapes_every_pod_of_ray_by_ports_that_it_has(overlay: str) -> None:
    monitors = of_kind(overlay, "PodMonitor").values()
    pods = [head(overlay)["template"], *(group["template"] for group in worker_groups(overlay).values())]
    scraped = []
    for pod in pods:
        selected = [
            monitor["spec"]
            for monitor in monitors
            if monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ]
        (spec,) = selected
        ports = {each["name"]: each["containerPort"] for each in pod["spec"]["containers"][0]["ports"]}
        scraped.append({endpoint["port"]: ports[endpoint["port"]] for endpoint in spec["podMetricsEndpoints"]})
    assert scraped[0] == {"metrics": 8080, "as-metrics": 44217, "dash-metrics": 44227}
    assert scraped[1:] == [{"metrics": 8080}] * (len(pods) - 1)
