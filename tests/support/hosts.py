"""Makes several hosts of one machine: network namespaces with addresses, sshd, and file systems of their own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

BRIDGE, NAME = "tsbr0", "tshost"
NETWORK = "10.77.0"


def missing_tools() -> str:
    """The tools for making hosts that this machine lacks; empty if it has all."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root"
    lacking = [tool for tool in ("ip", "sshd", "ssh", "rsync", "unshare", "mount") if not find_tool(tool)]
    if lacking:
        return f"needs {', '.join(lacking)}"
    probe = f"{NAME}probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return f"cannot make network namespaces: {made.stderr.strip()}" if made.returncode else ""


def find_tool(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@dataclass
class Hosts:
    """Hosts 1 to N at 10.77.0.1 to 10.77.0.N, all of whom see this machine's files, but each its own /root, /tmp/ray
    and /dev/shm, its own network and its own processes (`ray stop` ends every Ray process that it can see)."""

    folder: Path
    bashrc: str  # what every login shell of a host begins with
    processes: dict[int, subprocess.Popen] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        return self.folder / "id"

    def __enter__(self) -> "Hosts":
        self.clear()
        make_key(self.key)
        Path("/run/sshd").mkdir(exist_ok=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove every host, also those that an earlier run left."""
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.split()
        for name in names:
            if name.startswith(NAME) and name.removeprefix(NAME).isdigit():
                self.remove(int(name.removeprefix(NAME)))
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)

    def start(self, number: int) -> str:
        """Start one host and its sshd; returns its address."""
        name, address, home = f"{NAME}{number}", f"{NETWORK}.{number}", self.folder / f"host{number}"
        for part in ("home/.ssh", "ray"):
            (home / part).mkdir(parents=True, exist_ok=True)
        (home / "home/.bashrc").write_text(self.bashrc)
        for folder in (home / "home", home / "home/.ssh"):
            folder.chmod(0o700)
        make_key(home / "hostkey")
        config = home / "sshd_config"
        config.write_text(
            f"ListenAddress {address}\nHostKey {home / 'hostkey'}\nPidFile {home / 'sshd.pid'}\n"
            f"AuthorizedKeysFile {self.key}.pub\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
            # The key lies in a temporary folder, which sshd would not trust.
            "StrictModes no\nUsePAM no\nPrintMotd no\nPrintLastLog no\nSubsystem sftp internal-sftp\n"
        )
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"tsv{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", f"tsv{number}", "master", BRIDGE, "up")
        run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "route", "add", "default", "via", f"{NETWORK}.254")
        # ssh takes ~ from the user data base and not from HOME, so each host gets another folder as /root. What lies
        # below the real one and is needed, an interpreter perhaps, is bound into it.
        binds = ""
        for path in sorted({Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[2]}):
            if path.is_relative_to("/root"):
                inside = home / "home" / path.relative_to("/root")
                inside.mkdir(parents=True, exist_ok=True)
                binds += f"mount --bind {path} {inside}; "
        script = (
            f"set -e; mount --bind {home / 'ray'} /tmp/ray; {binds}mount --rbind {home / 'home'} /root; "
            f"mount -t tmpfs -o size=2g tmpfs /dev/shm; hostname {name}; "
            f"exec {find_tool('sshd')} -D -f {config} -E {home / 'sshd.log'}"
        )
        unshare = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with open(home / "output.txt", "w") as output:
            self.processes[number] = subprocess.Popen(
                ["ip", "netns", "exec", name, *unshare, "--propagation", "private", "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while self.ssh(number, "true").returncode != 0:
            assert time.monotonic() < deadline, f"no ssh to host {number}: {(home / 'output.txt').read_text()}"
            time.sleep(0.3)
        return address

    def ssh(self, number: int, command: str, timeout: float = 30) -> subprocess.CompletedProcess:
        """Run a command on a host as Ray's launcher does: in an interactive login shell."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        return subprocess.run(
            [
                "ssh",
                "-i",
                str(self.key),
                *options,
                f"root@{NETWORK}.{number}",
                f"bash --login -c -i 'source ~/.bashrc; {command}'",
            ],
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def running(self, number: int) -> list[psutil.Process]:
        """The processes of a host, as this machine sees them."""
        pids = subprocess.run(["ip", "netns", "pids", f"{NAME}{number}"], capture_output=True, text=True).stdout
        found = []
        for pid in pids.split():
            try:
                found.append(psutil.Process(int(pid)))
            except psutil.NoSuchProcess:
                continue
        return found

    def remove(self, number: int) -> None:
        """Cut a host off and kill all it runs, at once and without warning, as when a machine loses its power."""
        name = f"{NAME}{number}"
        subprocess.run(["ip", "link", "set", f"tsv{number}", "down"], capture_output=True)
        for process in self.running(number):
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        started = self.processes.pop(number, None)
        if started is not None:
            started.wait(timeout=20)
        deadline = time.monotonic() + 20
        while self.running(number) and time.monotonic() < deadline:
            time.sleep(0.1)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", f"tsv{number}"], capture_output=True)


def make_key(path: Path) -> None:
    if not path.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
