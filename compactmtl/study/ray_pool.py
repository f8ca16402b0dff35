"""Spread the runs of a study over a Ray cluster.

Ray only says where and when; each run is the same processes in the same folder as on one machine,
so what a lost node leaves is gone on with.

The study's folder lies on a file system that all nodes see under the same path. Results stay there;
Ray carries a sentence at most.
"""

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compactmtl.errors import MissingExtraError, StoppedError, TrainingError, UsageError
from compactmtl.recipe import to_toml
from compactmtl.study.cells import RunCell
from compactmtl.study.children import Children
from compactmtl.study.ray_probe import Resources, living_nodes
from compactmtl.study.running import OnFailed
from compactmtl.study.steps import run_cell

MAX_RETRIES = 20
"""How often a run may lose its node before it counts as failed."""
PASSED_ON = "COMPACTMTL_"
"""Environment variables that a node gets from here."""

Failure = tuple[str, str]
"""Message and hint."""


@dataclass(frozen=True)
class Place:
    """What a node needs to know of where the study was started.

    Attributes:
        folder: Where relative paths of recipes start.
        variables: Environment.
        device: As for ``compactmtl train --device``.
        threads: Of each run.
    """

    folder: str
    variables: Mapping[str, str]
    device: str
    threads: int


def run_on_ray(
    cells: Sequence[RunCell],
    *,
    address: str,
    cpus: int,
    device: str,
    on_done: Callable[[RunCell], None],
    on_failed: OnFailed,
) -> None:
    """Do what is left of the runs, as many at a time as the cluster has room for.

    A run whose node dies starts on another one, from its last checkpoint. Its lock keeps it from
    being done twice where the first process lives on.

    Args:
        cells: The runs.
        address: Of the cluster; see ``living_nodes``.
        cpus: Cores for each run; one GPU too, where the device is one.
        device: Where to train.
        on_done: Called after each run, from this thread.
        on_failed: Called in its place after a run that failed.

    Raises:
        MissingExtraError: Ray is not installed.
        NotPossibleHereError: The cluster does not answer.
        UsageError: No node has that many cores, or a GPU where one is asked for.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError(
            "--ray needs Ray, which is not installed here",
            hint='pip install "compactmtl[cluster]", here and on every node',
        )
    gpus = gpus_per_run(living_nodes(address), cpus, device)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # this project sends nothing anywhere
    ray: Any = importlib.import_module("ray")
    variables = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    place = Place(os.getcwd(), variables, device, cpus)  # noqa: PTH109
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        task = ray.remote(work_on_node).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=MAX_RETRIES
        )
        waiting: dict[Any, RunCell] = {
            task.remote(replace(cell, folder=cell.folder.absolute()), place): cell
            for cell in cells
            if not cell.is_done
        }
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(ready)
            failure = _outcome(ray, ready)
            if failure is None:
                on_done(cell)
            else:
                message, hint = failure
                name = f"{cell.name}: "
                on_failed(cell, TrainingError(name + message.removeprefix(name), hint=hint))
    finally:
        ray.shutdown()  # what still runs is ended with its processes


def work_on_node(cell: RunCell, place: Place) -> Failure | None:
    """Do what is left of a run, in a worker of Ray; return how it failed, if it did."""
    recipe = cell.folder.parent / "recipe.toml"
    if not recipe.is_file() or recipe.read_text(encoding="utf-8") != to_toml(cell.subject.recipe):
        return (
            f"a node does not see `{cell.folder.parent}` as it is here",
            "put the sweep's folder on a file system that all nodes share under the same path",
        )
    if Path(place.folder).is_dir():
        os.chdir(place.folder)
    os.environ.update(place.variables)
    try:
        run_cell(cell, place.device, place.threads, Children())
    except (StoppedError, TrainingError) as error:
        return error.message, error.hint
    return None


def _outcome(ray: Any, ready: Any) -> Failure | None:
    try:
        failure: Failure | None = ray.get(ready)
    except ray.exceptions.RayTaskError:
        raise  # a bug of ours
    except ray.exceptions.RayError as error:
        return str(error).strip().splitlines()[0], "look at `ray status`; the same command goes on"
    return failure


def gpus_per_run(nodes: Sequence[Resources], cpus: int, device: str) -> int:
    """Return how many GPUs a run takes.

    Raises:
        UsageError: No node has room for a run.
    """
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    takes = device.startswith("cuda") or (device == "auto" and bool(with_gpu))
    most = max((int(node.get("CPU", 0)) for node in (with_gpu if takes else nodes)), default=0)
    if takes and not with_gpu:
        raise UsageError(f"--device {device}: no node of the cluster has a GPU")
    if most < cpus:
        raise UsageError(
            f"--cpus {cpus}: the largest node of the cluster has {most} for runs",
            hint="ask for fewer, or start nodes with more: `ray start --num-cpus=N --address=...`",
        )
    return int(takes)
