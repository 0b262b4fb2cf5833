"""deploy/aws/cluster.yaml, as Ray's launcher reads it before it asks AWS for anything."""

import copy
import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.conftest import ROOT

CLUSTER = yaml.safe_load((ROOT / "deploy" / "aws" / "cluster.yaml").read_text())
NODES = CLUSTER["available_node_types"]


def test_ray_takes_it() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(CLUSTER))
    validate_config(prepared)
    # what it fills in where a file says nothing would install another Ray
    commands = [prepared[key] for key in ("setup_commands", "head_setup_commands", "worker_setup_commands")]
    assert commands == [[], CLUSTER["head_setup_commands"], []]


@pytest.mark.parametrize("place", [(), ("auth",), ("docker",), ("available_node_types", "gpu")])
def test_a_field_that_ray_does_not_know_is_refused(place: tuple[str, ...]) -> None:
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(CLUSTER, schema)
    wrong = copy.deepcopy(CLUSTER)
    node = wrong
    for step in place:
        node = node[step]
    node["bogus"] = 1
    with pytest.raises(jsonschema.ValidationError, match="bogus"):
        jsonschema.validate(wrong, schema)


def test_no_work_lands_on_the_head_and_gpus_start_from_zero() -> None:
    assert NODES[CLUSTER["head_node_type"]]["resources"] == {"CPU": 0}
    workers = {name: node for name, node in NODES.items() if name != CLUSTER["head_node_type"]}
    assert {node["min_workers"] for node in workers.values()} == {0}
    assert {name for name, node in workers.items() if "GPU" in node["resources"]} == {"gpu", "gpu-spot"}
    assert sum(node["max_workers"] for node in workers.values()) <= CLUSTER["max_workers"]


def test_spot_differs_from_gpu_in_the_market_alone() -> None:
    gpu, spot = (copy.deepcopy(NODES[name]) for name in ("gpu", "gpu-spot"))
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert (spot["node_config"], spot["resources"], spot["docker"]) == (
        gpu["node_config"],
        gpu["resources"],
        gpu["docker"],
    )


def test_every_node_has_a_token_a_role_and_this_versions_image() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert CLUSTER["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    for commands in (CLUSTER["head_start_ray_commands"], CLUSTER["worker_start_ray_commands"]):
        assert [command for command in commands if "ray start" in command and "RAY_AUTH_MODE=token ray" in command]
    docker = CLUSTER["docker"]
    images = [
        docker["head_image"],
        docker["worker_image"],
        *(n["docker"]["worker_image"] for n in NODES.values() if "docker" in n),
    ]
    assert [image.rpartition(":")[2] for image in images] == [
        f"{version}-{kind}" for kind in ("cpu", "cpu", "cuda", "cuda")
    ]
    assert all(node["node_config"]["IamInstanceProfile"]["Arn"] for node in NODES.values())
