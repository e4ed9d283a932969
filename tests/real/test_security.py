"""Tries every port that a local search opens as a stranger, without and with a wrong token: nothing may happen."""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
import ray.core.generated

from tests.support.hosts import find_tool, run
from tests.support.processes import end_family, family, kill_process, wait_until_gone
from tests.support.recorded import count_epochs
from tune_sketch.storage.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
WRONG_TOKEN = "ab" * 32
SEARCH = "--model baseline --classes 4 --per-class 24 --image-px 32 --num-samples 40 --max-epochs 200 --seed 3"
SEARCH += " --grace-epochs 200 --name guarded"
HTTP_PATHS = (  # of Ray's HTTP servers: the job API, the runtime environments (which install packages), state, logs
    ("GET", "/"),
    ("GET", "/api/version"),
    ("GET", "/api/jobs/"),
    ("POST", "/api/jobs/"),
    ("DELETE", "/api/jobs/raysubmit_0"),
    ("GET", "/api/v0/actors"),
    ("GET", "/api/v0/logs"),
    ("GET", "/logs/"),
    ("GET", "/nodes?view=summary"),
    ("POST", "/api/job_agent/jobs/"),
    ("POST", "/get_or_create_runtime_env"),
    ("POST", "/delete_runtime_env_if_possible"),
    ("POST", "/get_runtime_envs_info"),
    ("GET", "/api/local_raylet_healthz"),
    ("GET", "/worker/traceback"),
    ("GET", "/metrics"),
)
CONNECT = """
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), timeout=2).close()
        print(port)
    except OSError:
        pass
"""
OBJECT_MANAGER = ("Push", "Pull", "FreeObjects")


class Search:
    """A running local search, with the processes and ports that belong to it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.run = RunDirectory(folder / "runs" / "guarded")
        with open(folder / "search.txt", "w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tune_sketch.search", *SEARCH.split(), "--runs-dir", str(folder / "runs")],
                env=environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_for_epochs(self, more: int, seconds: float = 120) -> None:
        """Wait until the search has recorded a number of further epochs: it is alive and well."""
        wanted, deadline = count_epochs(self.run) + more, time.monotonic() + seconds
        while count_epochs(self.run) < wanted:
            said = (self.folder / "search.txt").read_text()[-2000:]
            assert self.process.poll() is None, f"the search ended: {said}"
            assert time.monotonic() < deadline, f"no {more} more epochs within {seconds:.0f} s: {said}"
            time.sleep(0.3)

    def listening(self) -> dict[tuple[str, int], str]:
        """(address, port) of every listening socket -> the process that opened it."""
        found = {}
        for process in [psutil.Process(self.process.pid), *family(self.process)]:
            try:
                for connection in process.net_connections("inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        found[connection.laddr.ip, connection.laddr.port] = process.name()
            except psutil.NoSuchProcess:
                continue
        return found

    def token(self) -> str:
        """The right token: the search hands it to its children by their environment, which only the user can read."""
        for process in family(self.process):
            if process.name() == "gcs_server":
                return process.environ()["RAY_AUTH_TOKEN"]
        raise AssertionError("the search has no gcs_server")

    def close(self) -> None:
        relatives = family(self.process)
        end_family(self.process)
        for relative in relatives:
            kill_process(relative)
        self.process.wait(20)
        wait_until_gone(self.process)


@pytest.fixture(scope="module")
def search(tmp_path_factory, clean_environment) -> Iterator[Search]:
    folder = tmp_path_factory.mktemp("guarded")
    # Whoever had switched authentication off for other work still gets a guarded search.
    search = Search(folder, clean_environment | {"RAY_AUTH_MODE": "disabled"})
    try:
        search.wait_for_epochs(2)
        yield search
    finally:
        search.close()


@pytest.fixture(scope="module")
def clean_environment(tmp_path_factory) -> dict[str, str]:
    """An environment without anything of Ray, and a home without a token."""
    home = tmp_path_factory.mktemp("home")
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": str(home)}


def rpc_methods() -> list[str]:
    """The full names of all of Ray's remote procedures, "/ray.rpc.NodeManagerService/ShutdownRaylet"."""
    names = {f"/ray.rpc.ObjectManagerService/{name}" for name in OBJECT_MANAGER}
    (folder,) = ray.core.generated.__path__
    for file in Path(folder).glob("*_grpc.py"):
        names.update(re.findall(r"'(/ray\.[\w.]+/\w+)'", file.read_text()))
    return sorted(names)


def call(channel: grpc.Channel, method: str, token: str | None) -> str:
    """The status of one call with an empty request: "OK" if it was served."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    try:
        channel.unary_unary(method)(b"", timeout=5, metadata=metadata)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


@pytest.mark.real
@pytest.mark.timeout(400)
class TestStranger:
    def test_no_remote_procedure_is_served(self, search, record_tries):
        methods = rpc_methods()
        assert len(methods) > 100
        served, num_refused, num_tried = [], 0, 0
        for (address, port), owner in search.listening().items():
            host = host_of(address)
            with grpc.insecure_channel(f"{host}:{port}") as channel:
                try:
                    grpc.channel_ready_future(channel).result(timeout=3)
                except grpc.FutureTimeoutError:
                    continue  # does not speak this protocol: tried by HTTP below
                for token in (None, WRONG_TOKEN):
                    for method in methods:
                        status = call(channel, method, token)
                        num_tried += 1
                        num_refused += status == "UNAUTHENTICATED"
                        if status not in ("UNAUTHENTICATED", "UNIMPLEMENTED"):
                            served.append((owner, port, method, status))
        assert not served, served
        assert num_refused > 100
        record_tries("remote procedures called without the token", num_tried, num_tried - len(served))
        # The same call with the right token is served: it is the token that decides.
        (gcs,) = [port for (_, port), owner in search.listening().items() if owner == "gcs_server"]
        with grpc.insecure_channel(f"127.0.0.1:{gcs}") as channel:
            assert call(channel, "/ray.rpc.JobInfoGcsService/GetAllJobInfo", search.token()) == "OK"
        search.wait_for_epochs(2)

    @pytest.mark.parametrize("token", [None, WRONG_TOKEN], ids=["no-token", "wrong-token"])
    def test_no_http_request_is_served(self, search, token, record_tries):
        served, num_tried = [], 0
        for (address, port), owner in search.listening().items():
            host = host_of(address)
            for method, path in HTTP_PATHS:
                status = request(host, port, method, path, token)
                num_tried += 1
                if status is not None and status < 400:
                    served.append((owner, port, method, path, status))
        assert not served, served
        record_tries("HTTP requests without the token", num_tried, num_tried - len(served))
        search.wait_for_epochs(2)

    def test_no_client_runs_anything(self, search, clean_environment, tmp_path, record_tries):
        """Whoever has the right token can, as a driver does: it is the token that keeps the others out."""
        (gcs,) = [port for (_, port), owner in search.listening().items() if owner == "gcs_server"]
        ports = sorted({str(port) for _, port in search.listening()})
        environment = clean_environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray asks at the machine's address
        environment |= {f"RAY_CLIENT_{name}_CONNECTION_TIMEOUT_S": "3" for name in ("INITIAL", "MAX")}
        strangers = {}
        for name, token in {"no token": None, "a wrong token": WRONG_TOKEN, "the token": search.token()}.items():
            more = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
            program = [sys.executable, "-m", "tests.support.stranger", str(tmp_path / name), str(gcs), *ports]
            strangers[name] = subprocess.Popen(
                program, env=environment | more, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        said = {name: stranger.communicate(timeout=120) for name, stranger in strangers.items()}
        assert {name: stranger.returncode for name, stranger in strangers.items()} == dict.fromkeys(said, 0), said
        assert {name: out.splitlines() for name, (out, _) in said.items()} == {
            "no token": [],
            "a wrong token": [],
            "the token": [f"driver {gcs}"],
        }
        assert [path.name for path in tmp_path.iterdir()] == ["the token"]
        num_doors = 2 * (1 + 2 * len(ports))  # without and with a wrong token: as a driver; as a client, as a job
        record_tries("Ray's own clients without the token", num_doors, num_doors)
        search.wait_for_epochs(2)

    def test_no_port_answers_another_machine(self, search, record_tries):
        """Beside one of ours that does: it is not the way there that is closed."""
        with other_machine() as (ours, there), socket.create_server(("0.0.0.0", 0)) as open_to_all:
            ports = {port: owner for (_, port), owner in search.listening().items()}
            assert len(ports) >= 5, "gcs_server, raylet twice, driver, trials"
            wanted = open_to_all.getsockname()[1]
            numbers = [str(port) for port in (*ports, wanted)]
            answer = subprocess.run(
                [*there, sys.executable, "-c", CONNECT, ours, *numbers], capture_output=True, text=True, timeout=60
            )
        assert answer.returncode == 0, answer.stderr
        assert [ports.get(int(port), port) for port in answer.stdout.split()] == [str(wanted)]
        record_tries("ports of a local search, from another machine", len(ports), len(ports))

    def test_the_token_is_only_in_the_memory_of_the_search(self, search):
        """Neither the run directory nor a command line holds the token, nor does a file list the environment."""
        token = search.token()
        assert len(token) == 64
        for file in search.run.path.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                assert token.encode() not in content, file
                assert b"RAY_AUTH" not in content, file
        for relative in [psutil.Process(search.process.pid), *family(search.process)]:
            try:
                assert token not in " ".join(relative.cmdline())
            except psutil.NoSuchProcess:
                continue

    def test_a_call_that_ends_ray_does_not_end_the_search(self, search, record_tries):
        """Whoever is on the machine can send it without a token. Last in this class, since it changes the ports."""
        (gcs,) = [port for (_, port), owner in search.listening().items() if owner == "gcs_server"]
        with grpc.insecure_channel(f"127.0.0.1:{gcs}") as channel, contextlib.suppress(grpc.RpcError):
            list(channel.stream_stream("/ray.rpc.syncer.RaySyncer/StartSync")(iter([b""]), timeout=10))
        deadline = time.monotonic() + 30
        while "Ray is started again (1 of 3)" not in (said := (search.folder / "search.txt").read_text()):
            assert time.monotonic() < deadline, said
            time.sleep(0.3)
        assert "Ray's gcs_server" in said
        search.wait_for_epochs(2)
        record_tries("calls that end a process of Ray", 1, 1)


def host_of(address: str) -> str:
    """Where a listening socket is reached from this machine."""
    return "127.0.0.1" if address in ("0.0.0.0", "::", "127.0.0.1", "::ffff:127.0.0.1") else address


@contextlib.contextmanager
def other_machine() -> Iterator[tuple[str, list[str]]]:
    """(our address, the begin of a command there) of a machine beside us: a network namespace."""
    name, ours = "tsstranger", "10.78.0.1"
    lacking = "" if os.geteuid() == 0 and find_tool("ip") else "needs root and ip"
    made = lacking or subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True).stderr
    if made:
        pytest.skip(f"cannot make a network namespace: {made.strip()}")
    try:
        run("ip", "link", "add", "tsstr0", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"{ours}/24", "dev", "tsstr0")
        run("ip", "link", "set", "tsstr0", "up")
        run("ip", "-n", name, "addr", "add", "10.78.0.2/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        yield ours, ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "link", "del", "tsstr0"], capture_output=True)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def request(host: str, port: int, method: str, path: str, token: str | None) -> int | None:
    """The HTTP status, None where the port does not speak HTTP."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers |= {"Authorization": f"Bearer {token}", "X-Ray-Authorization": f"Bearer {token}"}
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request(method, path, body=b'{"entrypoint": "true"}' if method == "POST" else None, headers=headers)
        return connection.getresponse().status
    except (TimeoutError, http.client.HTTPException, ConnectionError):
        return None
    finally:
        connection.close()
