"""The Kubernetes manifests fit each other, the image and the job file; all that can be known without a cluster."""

import copy
import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.config.label import Job, parse_job

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
SCHEMA = json.loads(Path(__file__).with_name("rayjob.schema.json").read_text())
UID = 10001  # the image's user; test_dockerfile.py holds the image to it
GENERATED = {  # ConfigMap -> its files, as kustomization.yaml makes them
    generated["name"]: set(generated["files"])
    for generated in yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["configMapGenerator"]
}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


def everything() -> list[dict[str, Any]]:
    return [document for path in KUBERNETES.glob("*.yaml") for document in documents(path.name)]


def pods(node: Any) -> Iterator[dict[str, Any]]:
    """Every pod spec, however deep."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for child in node.values():
            yield from pods(child)
    elif isinstance(node, list):
        for child in node:
            yield from pods(child)


def names(kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in everything() if item["kind"] == kind}


def group(name: str) -> dict[str, Any]:
    groups = RAYJOB["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return next(group for group in groups if group["groupName"] == name)


(RAYJOB,) = documents("rayjob.yaml")
CRONJOB = documents("nightly.yaml")[0]
PODS = list(pods(everything()))


@pytest.fixture(scope="module")
def job() -> Job:
    return parse_job(documents("job-config.yaml")[0]["data"]["job.yaml"], [])


# ── the RayJob ──────────────────────────────────────────────────────────────────────────────────


def test_rayjob_follows_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(RAYJOB, SCHEMA)


@pytest.mark.parametrize(
    "place",
    [
        (),
        ("spec",),
        ("spec", "rayClusterSpec"),
        ("spec", "rayClusterSpec", "autoscalerOptions"),
        ("spec", "rayClusterSpec", "headGroupSpec"),
        ("spec", "rayClusterSpec", "workerGroupSpecs", 0),
        ("spec", "rayClusterSpec", "workerGroupSpecs", 1, "template", "spec"),
        ("spec", "rayClusterSpec", "workerGroupSpecs", 1, "template", "spec", "containers", 0),
    ],
)
def test_unknown_fields_are_refused(place: tuple[str | int, ...]) -> None:
    wrong = copy.deepcopy(RAYJOB)
    node: Any = wrong
    for step in place:
        node = node[step]
    node["concurrencyPolicy"] = "Forbid"
    with pytest.raises(jsonschema.ValidationError, match="concurrencyPolicy"):
        jsonschema.validate(wrong, SCHEMA)


def test_entrypoint_is_there() -> None:
    python, flag, module, *arguments = RAYJOB["spec"]["entrypoint"].split()
    assert (python, flag) == ("python", "-m")
    assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()
    assert arguments == ["--config", "/etc/rookery/job.yaml"]


def test_entrypoint_finds_its_job_file() -> None:
    head = RAYJOB["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert PurePosixPath("/etc/rookery/job.yaml") in set(mounted_files(head))


def test_no_work_lands_on_the_head() -> None:
    head = RAYJOB["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"


def test_gpus_start_from_zero() -> None:
    assert RAYJOB["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    assert (group("gpu")["replicas"], group("gpu")["minReplicas"]) == (0, 0)
    assert group("text")["minReplicas"] > 0


def test_ray_is_the_version_that_the_image_has() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    series = next(d for d in dependencies if d.startswith("ray[")).partition("==")[2].rstrip("*")
    assert RAYJOB["spec"]["rayClusterSpec"]["rayVersion"].startswith(series)


def test_every_port_of_ray_asks_for_a_token() -> None:
    assert RAYJOB["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


# ── the job file ────────────────────────────────────────────────────────────────────────────────


def test_job_file_is_valid_and_joins_the_cluster(job: Job) -> None:
    assert job.ray.address == "auto"


def test_job_asks_for_as_many_gpus_as_there_may_be(job: Job) -> None:
    (container,) = group("gpu")["template"]["spec"]["containers"]
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert (job.compute.max_actors or job.compute.actors) * job.compute.num_gpus == (group("gpu")["maxReplicas"] * gpus)


# ── every pod ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_pod_runs_as_the_images_user_without_privileges(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == UID
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_pod_is_of_this_version(pod: dict[str, Any]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for container in pod["containers"]:
        assert container["image"].rpartition(":")[2] in (f"{version}-cpu", f"{version}-cuda")


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_pod_says_what_it_takes(pod: dict[str, Any]) -> None:
    for container in pod["containers"]:
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][bound])


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_what_a_pod_refers_to_exists(pod: dict[str, Any]) -> None:
    if "serviceAccountName" in pod:
        assert pod["serviceAccountName"] in names("ServiceAccount")
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    mounts = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", [])}
    assert mounts == volumes
    assert all(list(mounted_files(pod)) for _ in volumes)


def mounted_files(pod: dict[str, Any]) -> Iterator[PurePosixPath]:
    """The files that the pod's containers see in its ConfigMaps."""
    maps = {
        item["metadata"]["name"]: set(item["data"]) for item in everything() if item["kind"] == "ConfigMap"
    } | GENERATED
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod.get("volumes", [])}
    for container in pod["containers"]:
        for mount in container.get("volumeMounts", []):
            for file in maps[volumes[mount["name"]]]:
                yield PurePosixPath(mount["mountPath"]) / file


# ── the nightly run ─────────────────────────────────────────────────────────────────────────────


def test_nights_do_not_overlap() -> None:
    assert CRONJOB["spec"]["concurrencyPolicy"] == "Forbid"


def test_nightly_pod_finds_its_script() -> None:
    (pod,) = pods(CRONJOB)
    python, script = pod["containers"][0]["command"]
    assert python == "python"
    assert PurePosixPath(script) in set(mounted_files(pod))


def test_nightly_config_map_is_made_of_the_files_themselves() -> None:
    files = GENERATED["rookery-nightly"]
    assert files == {"rayjob.yaml", "nightly.py"}
    assert all((KUBERNETES / file).is_file() for file in files)


def test_nightly_account_may_create_and_see_rayjobs_and_nothing_else() -> None:
    role = next(item for item in everything() if item["kind"] == "Role")
    binding = next(item for item in everything() if item["kind"] == "RoleBinding")
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    (pod,) = pods(CRONJOB)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [pod["serviceAccountName"]]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_builds_it() -> None:
    built = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], text=True, capture_output=True, check=True)
    objects = list(yaml.safe_load_all(built.stdout))
    maps = {item["metadata"]["name"]: item for item in objects if item["kind"] == "ConfigMap"}
    assert yaml.safe_load(maps["rookery-nightly"]["data"]["rayjob.yaml"]) == RAYJOB
    assert {item["metadata"]["namespace"] for item in objects} == {"rookery"}
