"""Holds every cluster file to Ray's own schema and preparation, and to what we promise of it; needs no network."""

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tune_sketch.config.flags import build_parser

ROOT = Path(__file__).parents[2]
LAUNCHED = ["cluster.yaml", "clusters/local.yaml", "clusters/gcp.yaml"]
CLOUDS = ["cluster.yaml", "clusters/gcp.yaml"]


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


def prepare(config: dict[str, Any]) -> dict[str, Any]:
    """The steps of `ray up` before it talks to anyone."""
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_accepts_the_file(name):
    prepared = prepare(read(name))
    assert prepared["head_node_type"] in prepared["available_node_types"]


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_misspelt_key_is_refused(name):
    config = read(name)
    config["idle_timeout_minute"] = config.pop("idle_timeout_minutes")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        prepare(config)


@pytest.mark.parametrize("name", LAUNCHED)
def test_every_node_asks_for_the_token_and_keeps_it_to_itself(name):
    config = read(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert config["setup_commands"][0] == "chmod 600 ~/.ray/auth_token"
    for side in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = [command for command in config[side] if "ray start" in command]
        assert start.index("export RAY_AUTH_MODE=token; ") < start.index("ray start ")
    (head,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in head
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head


@pytest.mark.parametrize("name", LAUNCHED)
def test_every_node_gets_this_package_with_pinned_dependencies(name):
    config = read(name)
    mounted = {path for path in config["file_mounts"].values() if not path.startswith("~")}
    packages = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= mounted
    assert {"pyproject.toml", "constraints.txt"} <= mounted
    (install,) = [command for command in config["setup_commands"] if "pip install" in command]
    assert "-c ~/tune_sketch/constraints.txt ~/tune_sketch" in install
    (variables,) = [command for command in config["setup_commands"] if "TUNE_SKETCH_CACHE=" in command]
    assert "TUNE_SKETCH_CACHE=/shared/cache TUNE_SKETCH_NODE_CACHE=$HOME/.cache/tune_sketch" in variables


@pytest.mark.parametrize("name", CLOUDS)
def test_an_idle_cloud_cluster_is_its_head_alone(name):
    config = prepare(read(name))
    assert config["idle_timeout_minutes"] <= 10
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"]["CPU"] == 0, "no trials on the head"
    assert all(worker["min_workers"] == 0 for worker in types.values())
    assert max(worker["max_workers"] for worker in types.values()) <= config["max_workers"]


@pytest.mark.parametrize("name", CLOUDS)
def test_spot_comes_first_and_on_demand_is_the_same_machine(name):
    types = read(name)["available_node_types"]
    spot, on_demand = types["gpu_spot"], types["gpu_on_demand"]
    assert spot["priority"] > on_demand["priority"]
    assert spot["resources"] == on_demand["resources"]
    assert spot["resources"]["GPU"] >= 2
    market = {"InstanceMarketOptions", "scheduling"}
    machines = [{k: v for k, v in node["node_config"].items() if k not in market} for node in (spot, on_demand)]
    assert machines[0] == machines[1]
    assert "InstanceMarketOptions" not in on_demand["node_config"]
    assert {"preemptible": True} not in on_demand["node_config"].get("scheduling", [])


def test_aws_has_what_ray_does_not_check():
    config = read("cluster.yaml")
    assert config["provider"]["region"], "Ray accepts a file without one and fails later"
    assert config["provider"]["cache_stopped_nodes"] is False
    assert "IpPermissions" not in config["provider"]["security_group"], "Ray's own rules: ssh and the cluster itself"
    for node in config["available_node_types"].values():
        assert node["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}


def test_local_leaves_every_machine_to_ray():
    config = prepare(read("clusters/local.yaml"))
    (node,) = config["available_node_types"].values()
    assert node["min_workers"] == node["max_workers"] == len(config["provider"]["worker_ips"])


def test_kubernetes_has_what_kuberay_needs():
    job = read("clusters/kubernetes.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["metadata"]["name"]
    program, flags = job["spec"]["entrypoint"].split(" --", 1)
    assert program == "python -m tune_sketch.search"
    arguments = build_parser().parse_args(f"--{flags}".split())
    assert (arguments.address, arguments.runs_dir) == ("auto", Path("/shared/runs"))
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] == 0 < group["maxReplicas"]
    for template in (cluster["headGroupSpec"]["template"], group["template"]):
        (container,) = template["spec"]["containers"]
        assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"]
        assert {"name": "TUNE_SKETCH_CACHE", "value": "/shared/cache"} in container["env"]
        assert {"name": "TUNE_SKETCH_NODE_CACHE", "value": "/tmp/tune_sketch"} in container["env"]
        assert template["spec"]["volumes"][0]["persistentVolumeClaim"]
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] >= 2


@pytest.mark.parametrize("name", ["README.md", "clusters/README.md"])
def test_the_way_to_a_cluster_is_three_lines_and_their_command_is_right(name):
    blocks = re.findall(r"```\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    (lines,) = [block.splitlines() for block in blocks if block.startswith("ray up")]
    up, search, down = lines
    assert up == "ray up -y cluster.yaml"
    program, _, flags = re.fullmatch(r"ray exec cluster\.yaml '(.*?)( --)(.*)'", search).groups()
    assert program == "python -m tune_sketch.search"
    arguments = build_parser().parse_args(f"--{flags}".split())
    folder = f"{arguments.runs_dir}/{arguments.name}"
    assert down == f"ray rsync-down cluster.yaml {folder} runs/ && ray down -y cluster.yaml"
