"""A stranger: tries to run code in somebody's Ray, at every port and through each of the doors that Ray documents.

python -m tests.support.stranger MARK GCS_PORT PORT...     prints "door port" if let in; what he runs makes MARK
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ray
from ray.job_submission import JobSubmissionClient

SECONDS = 30.0  # then he gives up


def run_task(mark: str) -> None:
    ray.get(ray.remote(num_cpus=0)(lambda: Path(mark).touch()).remote())


def by_driver(address: str, mark: str) -> None:
    ray.init(address=address, log_to_driver=False)
    run_task(mark)


def by_client(address: str, mark: str) -> None:
    ray.init(address=f"ray://{address}")
    run_task(mark)


def by_jobs(address: str, mark: str) -> None:
    JobSubmissionClient(f"http://{address}").submit_job(entrypoint=f"touch {mark}")


def begin(door: Callable[[str, str], None], port: int, mark: str) -> int:
    """A process of its own, of those that share one import of Ray; exit code 0 if it was let in."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        door(f"127.0.0.1:{port}", mark)
        code = 0
    finally:
        os._exit(code)


def main(mark: str, gcs: int, ports: list[int]) -> None:
    tries = {begin(by_driver, gcs, mark): f"driver {gcs}"}
    for port in ports:
        tries[begin(by_client, port, mark)] = f"client {port}"
        tries[begin(by_jobs, port, mark)] = f"jobs {port}"
    deadline = time.monotonic() + SECONDS
    while tries and time.monotonic() < deadline:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process and status == 0:
            print(tries[process], flush=True)
        if process:
            del tries[process]
        else:
            time.sleep(0.1)
    for process in tries:  # still asking to be let in
        os.kill(process, 9)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(port) for port in sys.argv[3:]])
