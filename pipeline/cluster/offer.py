"""What a Ray cluster offers a job, asked in a process apart.

Ray waits minutes for an address where nobody answers, tells only on standard error that a token was refused, and may
end the process that it can't serve. Run as `python -m pipeline.cluster.offer QUESTION`; question and answer are JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import IO, Any

from pipeline.cluster.connection import KNOCK_S, check_address
from pipeline.config.label import ComputeSettings
from pipeline.errors import ConfigError, RetryableError, RookeryError

TOKEN_REFUSED = "Unauthenticated"  # what Ray writes to standard error, each second


@dataclass(frozen=True, slots=True)
class Offer:
    """What a cluster said of itself."""

    version: str  # of Ray, which is ours: it connects to no other
    nodes: str  # what they have, in words
    gpus: float
    need: str  # what the job needs, in words
    problem: str | None  # why the cluster can never serve it


def ask_cluster(address: str, compute: ComputeSettings, checkpoints: int, seconds: float) -> Offer:
    """Connects to a cluster as a job does, from a process that ends after `seconds` at most, and asks what it has.

    Raises:
        ConfigError: it is another Ray, wants another token, or the address is of another kind.
        RetryableError: nobody answers there.
    """
    until = time.monotonic() + seconds
    check_address(address, min(5.0, seconds))
    question = json.dumps({"address": address, "compute": compute.model_dump(mode="json"), "checkpoints": checkpoints})
    environment = os.environ | {"RAY_BACKEND_LOG_LEVEL": "warning"}  # or it doesn't say why it can't connect
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as told:
        command = [sys.executable, "-m", __name__, question]
        process = subprocess.Popen(command, stdout=output, stderr=told, env=environment, stdin=subprocess.DEVNULL)
        try:
            while process.poll() is None and time.monotonic() < until and TOKEN_REFUSED not in _text(told):
                time.sleep(KNOCK_S)
        finally:
            process.kill()
            process.wait()
        return _answer(address, _text(output), _text(told), seconds)


def _text(file: IO[str]) -> str:
    return os.pread(file.fileno(), 2**20, 0).decode(errors="replace")


def _answer(address: str, output: str, told: str, seconds: float) -> Offer:
    """Reads what the process said. Raises as `ask_cluster`."""
    if TOKEN_REFUSED in told:
        raise ConfigError(
            f"ray.address {address}: the cluster refuses this machine's token; set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN to the cluster's: `ray get-auth-token` prints it there"
        )
    if not output.strip():
        raise RetryableError(
            f"ray.address {address}: somebody listens there, and it did not answer as Ray does within {seconds:.0f} s; "
            "name the port of the head's GCS (6379, not 8265 or 10001), and look at its logs"
        )
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    if "error" in answer:
        raise ConfigError(f"ray.address {address}: {answer['error']}")
    return Offer(**answer)


def main(question: str) -> None:
    """Answers a question on standard output."""
    asked = json.loads(question)
    import ray

    try:
        ray.init(address=asked["address"], log_to_driver=False, logging_level="ERROR")
        from pipeline.cluster.needs import check_cluster, encoders, nodes_described, nodes_now, nodes_to_come

        need = encoders(ComputeSettings.model_validate(asked["compute"]), asked["checkpoints"])
        nodes = nodes_now() + nodes_to_come()
        problem = None
        try:
            check_cluster(need)
        except ConfigError as error:
            problem = str(error)
        gpus = sum(kind.gpus * kind.count for kind in nodes)
        answer = asdict(Offer(ray.__version__, nodes_described(nodes), gpus, str(need), problem))
    except RookeryError:
        raise
    except Exception as error:  # noqa: BLE001 - Ray raises RuntimeError, ConnectionError, and classes of its own
        answer = {"error": _explained(str(error))}
    sys.stdout.write(json.dumps(answer))


def _explained(error: str) -> str:
    line = " ".join(error.split())
    if "Version mismatch" in line:
        return f"{line}; install the cluster's version of Ray and Python here, or start a cluster of ours"
    if "no authentication token was found" in line:
        return "RAY_AUTH_MODE is token and there is no token; set RAY_AUTH_TOKEN, or the file RAY_AUTH_TOKEN_PATH"
    return f"Ray could not connect ({line}); look at the head's logs"


if __name__ == "__main__":
    main(sys.argv[1])
