"""`ray up cluster.yaml` against a pretended AWS, as far as that goes: until it waits for ssh to the head."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """A server on this machine that answers like AWS, and every AWS client turned to it."""
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-nobody")
    server = pytest.importorskip("moto.server", reason="needs moto").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    try:
        yield
    finally:
        server.stop()


@pytest.mark.real
def test_ray_up_makes_what_the_file_promises(aws, tmp_path):
    boto3 = pytest.importorskip("boto3", reason="needs boto3")
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    region = config["provider"]["region"]
    ec2 = boto3.client("ec2", region_name=region)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    for node in config["available_node_types"].values():
        node["node_config"]["ImageId"] = image  # the place marked FILL IN
    config["file_mounts"] = {there: here for there, here in config["file_mounts"].items() if not here.startswith("~")}
    config["file_mounts"] = {there: str(ROOT / here) for there, here in config["file_mounts"].items()}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(config))

    environment = dict(os.environ) | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    ray_up = [str(Path(sys.executable).parent / "ray"), "up", "-y", "--no-config-cache", str(tmp_path / "cluster.yaml")]
    with open(tmp_path / "output.txt", "w") as output:
        process = subprocess.Popen(ray_up, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 100
        while "Waiting for SSH to become available" not in (said := (tmp_path / "output.txt").read_text()):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.3)
    finally:
        process.kill()
        process.wait()

    # One machine, and not a GPU's: workers are the autoscaler's, when trials wait.
    (head,) = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    node = config["available_node_types"]["head"]["node_config"]
    assert head["State"]["Name"] == "running"
    assert (head["InstanceType"], head["ImageId"]) == (node["InstanceType"], image)
    assert "InstanceLifecycle" not in head, "the head is no spot machine"
    # From outside by ssh alone, between the cluster's machines everything.
    (group,) = head["SecurityGroups"]
    assert group["GroupName"] == config["provider"]["security_group"]["GroupName"]
    rules = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"][0]["IpPermissions"]
    from_outside = [rule for rule in rules if rule["IpRanges"] or rule["Ipv6Ranges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in from_outside] == [(22, 22)]
    inside = [pair["GroupId"] for rule in rules if rule not in from_outside for pair in rule["UserIdGroupPairs"]]
    assert inside == [group["GroupId"]]
    # A role for the head, which starts and ends the others; a key whose private half is ours alone.
    assert head["IamInstanceProfile"]["Arn"].endswith("/ray-autoscaler-v1")
    (key,) = (tmp_path / ".ssh").glob("*.pem")
    assert key.stat().st_mode & 0o077 == 0
    assert head["KeyName"] == key.stem
