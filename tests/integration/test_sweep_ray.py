"""Runs on a real Ray cluster of two nodes on this machine, one of which is killed in the middle.

The steps of a run are small scripts here, which write what `train` and the others would; all else
is as in a sweep: the cluster, the processes, the lock, what is decided from the files of a run.
"""

import json
import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import pytest

from compactmtl.study import ray_pool
from compactmtl.study.cells import make_cells
from compactmtl.study.subjects import parse_subject

pytestmark = pytest.mark.slow  # a cluster takes 20 s to start
pytest.importorskip("ray", reason="extra cluster")

LIMIT_S = 600
EPOCHS = 6
STEP = """
import json, os, pathlib, sys, time
verb, folder = sys.argv[1], pathlib.Path(sys.argv[2])
with (folder / "steps.txt").open("a") as steps:
    steps.write(verb + "\\n")
if verb == "train":
    run = folder / "run"
    run.mkdir(exist_ok=True)
    log = run / "log.jsonl"
    done = len(log.read_text().splitlines()) if log.exists() else 0
    for epoch in range(done + 1, EPOCHS + 1):
        time.sleep(0.5)
        with log.open("a") as lines:
            lines.write(json.dumps({"epoch": epoch}) + "\\n")
        (run / "ckpt.pt").touch()
    (run / "run.json").write_text('{"status": "finished"}')
else:
    made = {"evaluate": "evaluation/evaluation.json", "compress": "compact/report.json"}
    path = folder / made.get(verb, "compact/dense.onnx.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
""".replace("EPOCHS", str(EPOCHS))


@pytest.fixture(scope="module")
def cluster():
    """A head that does no runs, and two nodes of one core each."""
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # or all else on the machine goes first
        "RAY_raylet_start_wait_time_s": "300",  # for the same reason
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        for name, value in variables.items():
            patch.setenv(name, value)
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        size = {"object_store_memory": 80_000_000}
        found = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **size}
        )
        nodes = [found.add_node(num_cpus=1, **size) for _ in range(2)]
        yield found, nodes
        found.shutdown()


@pytest.fixture
def steps_are_scripts(monkeypatch):
    """Put scripts in the place of `python -m compactmtl VERB`, on the nodes."""

    def work(cell, place, real=ray_pool.work_on_node):
        from compactmtl.study.children import Children

        start = Children.run

        def run(self, command, **options):
            script = [sys.executable, "-c", STEP, command[3], str(cell.folder)]
            return start(self, script, **options)

        Children.run = run  # this worker does nothing else
        try:
            return real(cell, place)
        finally:
            Children.run = start

    monkeypatch.setattr(ray_pool, "work_on_node", work)


def processes_below(pid: int) -> list[int]:
    """Return the ids of all descendants of a process."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        children.setdefault(int(words[1]), []).append(int(path.parent.name))
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        left += below
        found += below
    return found


def step_of(pid: int) -> tuple[str, Path] | None:
    """Return the verb and the run that a process works on."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return None
    return (words[3], Path(words[4])) if STEP in words else None


def trains(node) -> bool:
    """Tell whether a node is in the middle of a training."""
    steps = [step_of(pid) for pid in processes_below(raylet_of(node))]
    return any(s and s[0] == "train" and (s[1] / "run" / "ckpt.pt").exists() for s in steps)


def raylet_of(node) -> int:
    return next(iter(node.all_processes["raylet"])).process.pid


def kill(node, *, with_steps: bool) -> None:
    """End a node's daemon and workers at once; steps of runs die with them or live on."""
    raylet = raylet_of(node)
    for pid in [raylet, *processes_below(raylet)]:
        if with_steps or step_of(pid) is None:
            os.kill(pid, signal.SIGKILL)


def wait_for(what) -> None:
    end = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("with_steps", [True, False], ids=["power-cut", "step-lives-on"])
def test_a_node_that_is_killed_loses_nothing_and_nothing_is_done_twice(
    cluster, steps_are_scripts, tmp_path, with_steps
):
    found, nodes = cluster
    node = nodes.pop(0)
    subjects = [parse_subject(f"{name}=rooms-smoke") for name in "abcd"]
    cells = make_cells(subjects, 1, tmp_path, until="exported")
    done, failed = [], []

    def kill_in_the_middle():
        wait_for(lambda: trains(node))
        kill(node, with_steps=with_steps)

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray_pool.run_on_ray(
            cells,
            address=found.address,
            cpus=1,
            device="cpu",
            on_done=lambda cell: done.append(cell.subject.label),
            on_failed=lambda cell, error: failed.append(error.message),
        )
    killer.join(LIMIT_S)
    nodes.append(found.add_node(num_cpus=1, object_store_memory=80_000_000))
    assert failed == []
    assert sorted(done) == ["a", "b", "c", "d"]
    for cell in cells:
        assert cell.is_done
        lines = (cell.run / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
        verbs = Counter((cell.folder / "steps.txt").read_text().split())
        assert (verbs["evaluate"], verbs["compress"], verbs["export"]) == (1, 1, 1)
