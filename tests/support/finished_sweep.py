"""A sweep whose runs are finished, as their processes leave them; the models are convolutions."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compactmtl.study.cells import make_cells
from compactmtl.study.grid import make_grid

LAMS, SEEDS = (0.0, 0.01, 0.1), 2
EPOCHS = 4
MIOU = {0.0: 0.5, 0.01: 0.6, 0.1: 0.4}
SHARE = {0.0: 0.0, 0.01: 0.25, 0.1: 0.75}
CHANNELS = 8


def miou(lam: float, seed: int) -> float:
    """Return the metric that a run has."""
    return MIOU[lam] + 0.02 * seed


def write_sweep(root: Path, *, without: tuple[str, ...] = ()):
    """Write a grid of three lambdas, two task sets and two seeds; return its points and cells.

    Args:
        root: The sweep's folder.
        without: Labels whose runs are not finished.
    """
    _, grid = make_grid("rooms-dense", lams=LAMS, task_sets=["seg,depth", "seg"])
    cells = make_cells([point.subject for point in grid], SEEDS, root, until="exported")
    lams = {point.subject.label: point.lam for point in grid}
    for cell in cells:
        if cell.subject.label not in without:
            _finish(cell, lams[cell.subject.label], list(cell.subject.recipe.tasks))
    return grid, cells


def _finish(cell, lam: float, tasks: list[str]) -> None:
    share = SHARE[lam]
    metrics = {"seg": {"miou": miou(lam, cell.seed)}, "depth": {"abs_err": 1 - share}}
    chosen = {task: metrics[task] for task in tasks}
    _write(cell.scores, {"metrics": {"ckpt.pt": chosen}})
    counts = {"zero_groups": 100 * share, "num_groups": 100, "zero_filters": 0, "num_filters": 100}
    counts |= {"zero_weights": 1000 * share, "num_weights": 1000}
    rows = [
        {"epoch": e, "phase": "sparse" if e <= 2 else "debias", "sparsity": counts}
        for e in range(1, EPOCHS + 1)
    ]
    cell.run.mkdir(parents=True)
    (cell.run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    left = round(CHANNELS * (1 - share))
    layers = [
        {"name": name, "in_before": CHANNELS, "in_after": left, "zero_groups": CHANNELS - left}
        for name in ("first", "second")
    ]
    report = {
        "before": {"macs": 1000, "num_params": 100},
        "after": {"macs": 1000 * (1 - share), "num_params": 100 * (1 - share)},
        "census": {"removable_channels": CHANNELS - left, "num_channels": 2 * CHANNELS},
        "layers": layers,
    }
    _write(cell.compact / "report.json", report)
    for name in ("model", "dense"):
        _convolution(cell.compact / f"{name}.onnx", seed=cell.seed)
        _write(cell.compact / f"{name}.onnx.json", {})
    image = np.zeros((1, 3, 8, 8), np.float32)
    np.savez(cell.compact / "inputs.npz", image=image, source=np.array("nothing"))


def _write(path: Path, document: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def _convolution(path: Path, seed: int) -> None:
    kernel = np.random.default_rng(seed).normal(size=(4, 3, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["seg"])],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("seg", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(kernel, "w")],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
