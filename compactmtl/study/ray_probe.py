"""Whether a Ray cluster answers: asked in a process of its own, for Ray waits minutes and exits.

``python -m compactmtl.study.ray_probe HOST:PORT`` prints the resources of each living node as JSON.
"""

import importlib
import json
import logging
import os
import socket
import subprocess
import sys
from typing import Any

from compactmtl.errors import NotPossibleHereError

LIMIT_S = 60.0
CONNECT_S = 5.0

Resources = dict[str, float]


def living_nodes(address: str, *, limit_s: float = LIMIT_S) -> list[Resources]:
    """Return what each living node of a cluster has.

    Args:
        address: ``host:port`` of the cluster's head, or ``auto`` for the one this machine is in.
        limit_s: How long it may take to answer.

    Raises:
        NotPossibleHereError: Nothing listens there, or no Ray cluster of this version answers.
    """
    hint = (
        "`ray start --head` prints the address; `ray start --address=...` makes this a node of it"
    )
    if address != "auto":
        _connect(address, hint)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "compactmtl.study.ray_probe", address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
        )
    except subprocess.TimeoutExpired as error:
        raise NotPossibleHereError(
            f"no Ray cluster answers at `{address}` within {limit_s:g} s", hint=hint
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise NotPossibleHereError(f"no Ray cluster answers at `{address}`: {said}", hint=hint)
    nodes: list[Resources] = json.loads(done.stdout.splitlines()[-1])
    return nodes


def _connect(address: str, hint: str) -> None:
    """Find out in seconds whether anything listens there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise NotPossibleHereError(f"`{address}` is no address, expected HOST:PORT", hint=hint)
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise NotPossibleHereError(f"nothing answers at `{address}`: {error}", hint=hint) from error


def _print_nodes(address: str) -> None:
    ray: Any = importlib.import_module("ray")
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    sys.stdout.write(json.dumps(nodes) + "\n")


if __name__ == "__main__":
    _print_nodes(sys.argv[1])
