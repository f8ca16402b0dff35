"""A sweep on a real Ray cluster of two nodes on this machine, one of which is killed."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a cluster takes 20 s to start, and every run is four processes
pytest.importorskip("ray", reason="extra cluster")

LIMIT_S = 900
TINY = (
    "--lam", "0,0.1,0.2", "--seeds", "1", "--seconds", "0", "--cpus", "1", "--device", "cpu",
    "--set", "data.args={num_images=16, num_eval_images=8, height=32, width=32}",
    "--set", "model.name=segnet_s", "--set", "model.args={widths=[4, 4]}",
    "--set", "data.batch_size=8", "--set", "train.epochs=6", "--tasks", "seg",
)  # fmt: skip


@pytest.fixture
def cluster(monkeypatch):
    """A head that does no runs, and two nodes of one core each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or all else on the machine goes first
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        size = {"object_store_memory": 80_000_000}
        found = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **size}
        )
        nodes = [found.add_node(num_cpus=1, **size) for _ in range(2)]
        yield found, nodes
        found.shutdown()


def processes_below(pid: int) -> list[int]:
    """Return the ids of all descendants of a process."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents.setdefault(int(words[1]), []).append(int(path.parent.name))
    found, left = [], [pid]
    while left:
        left += (children := parents.get(left.pop(), []))
        found += children
    return found


def works_on(node, folder: Path) -> bool:
    """Tell whether a process of a node works on a run."""
    raylet = next(iter(node.all_processes["raylet"])).process.pid
    for pid in processes_below(raylet):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        except OSError:
            continue
        if str(folder) in command:
            return True
    return False


def kill_node(node) -> None:
    """End a node as a power cut does: the daemon and all that it started, at once."""
    raylet = next(iter(node.all_processes["raylet"])).process.pid
    for pid in [raylet, *processes_below(raylet)]:
        os.kill(pid, signal.SIGKILL)


def trainings(folder: Path) -> list[list[dict]]:
    """Return each run's log of epochs."""
    return [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(folder.rglob("run/log.jsonl"))
    ]


def test_a_node_that_is_killed_loses_nothing_and_no_run_is_done_twice(cluster, tmp_path):
    found, nodes = cluster
    sweep, log = tmp_path / "sweep", tmp_path / "said.txt"
    with log.open("w") as said:
        driver = subprocess.Popen(
            [sys.executable, "-m", "compactmtl", "sweep", "rooms-sparse", *TINY, "-o", str(sweep),
             "--ray", found.address, "--json"],
            stdout=subprocess.PIPE, stderr=said, text=True,
            env=os.environ | {"COMPACTMTL_CACHE": str(tmp_path / "cache")},
        )  # fmt: skip
        end = time.monotonic() + LIMIT_S
        while not list(sweep.rglob("run/ckpt.pt")):  # a run is in the middle
            assert driver.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        running = next(sweep.rglob("run/ckpt.pt")).parents[1]
        kill_node(max(nodes, key=lambda node: works_on(node, running)))
        out, _ = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, log.read_text()
    document = json.loads(out)
    assert [run["status"] for run in document["runs"]] == ["finished"] * 3
    assert json.loads((sweep / "sweep.json").read_text()) == document
    for epochs in trainings(sweep):
        assert [row["epoch"] for row in epochs] == [1, 2, 3, 4, 5, 6]
