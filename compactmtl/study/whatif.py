"""What a network would gain from group sparsity: latency against sparsity, without training."""

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from compactmtl.board.bench.ratio import Ratio, paired_ratio
from compactmtl.board.bench.timing import interleave
from compactmtl.board.sessions import open_session
from compactmtl.compact import CompactModel
from compactmtl.compiler import compress
from compactmtl.compiler.table import CostTable, default_table, not_measured_here
from compactmtl.errors import UsageError
from compactmtl.export import export
from compactmtl.export.board_errors import translated
from compactmtl.overparam import contract, is_expanded
from compactmtl.static_parts import InParts
from compactmtl.study.layers import LayerShare, layer_shapes, shares
from compactmtl.study.masks import scenarios, zero_share

SPARSITIES = (0.30, 0.50, 0.70, 0.85)
LOOKED_AT = 0.70
"""Sparsity at which the layers are ranked."""

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Point:
    """One network that was measured.

    Attributes:
        scenario: Which layers have zero groups; "dense" for none.
        sparsity: Share of zero groups of these layers.
        macs: Multiply-accumulates of the compact model, batch 1.
        num_params: Its parameters.
        latency_ms: CPU time of a run with one thread, wall time with more; median.
        speedup: Dense over this one.
        interval: 95 % confidence interval of the speed-up.
    """

    scenario: str
    sparsity: float
    macs: int
    num_params: int
    latency_ms: float
    speedup: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class WhatIf:
    """The answer. Accuracy is no part of it: the zero groups are drawn, not trained.

    Attributes:
        points: The dense network first, then by scenario and sparsity.
        layers: The layers that save most time at 70 % first, in the last scenario.
        opaque: Ops that keep their channels: node, op, why, source line.
        runtime: What it was measured in.
        tuned: "", or that the cost table is another machine's.
    """

    points: list[Point]
    layers: list[LayerShare]
    opaque: list[dict[str, str]]
    runtime: str
    tuned: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def whatif(
    model: nn.Module,
    example_inputs: Sequence[Tensor],
    *,
    encoder: Sequence[str] | None = None,
    table: CostTable | None = None,
    threads: int = 1,
    seconds: float = 10.0,
    rounds: int = 30,
    seed: int = 0,
    progress: Progress | None = None,
) -> WhatIf:
    """Put zero groups into a network, compile, export and measure it, at 30, 50, 70 and 85 %.

    Each layer loses the same share of its input groups, drawn from a seed. A trained network loses
    many in some layers and few in others, which may be faster or slower at the same total.

    Args:
        model: The network, on the CPU; it is not changed.
        example_inputs: Inputs of the size that matters, batch 1.
        encoder: Patterns of the encoder's layers; None takes what the network declares, else all
            layers are one scenario.
        table: What layers cost on the target; None: the table that ships.
        threads: Threads of the runtime.
        seconds: Least time of the measurement, for all networks together.
        rounds: Least number of rounds.
        seed: For the choice of groups.
        progress: Called as each step starts, with its name and the number of steps left.

    Raises:
        CaptureError: ``torch.export`` refuses the network; the message has the line.
        PatternError: A pattern of ``encoder`` matches no layer.
        UsageError: There is nothing to make sparse.
    """
    if isinstance(model, InParts):
        raise UsageError(
            f"{type(model).__name__} is no single graph: whatif predicts nothing of it",
            hint="compress it with zeros in place, then export and bench",
        )
    table = table or default_table()
    network = contract(copy.deepcopy(model).eval()) if is_expanded(model) else copy.deepcopy(model)
    names = list(scenarios(network, encoder))
    steps = [(name, share) for name in names for share in SPARSITIES]
    say = progress or (lambda name, left: None)
    results: dict[tuple[str, float], CompactModel] = {}
    with tempfile.TemporaryDirectory(prefix="compactmtl-whatif-") as folder:
        files = {("dense", 0.0): Path(folder) / "dense.onnx"}
        for number, (name, share) in enumerate(steps):
            say(f"{name}, {share:.0%}", len(steps) - number + 1)
            sparse = copy.deepcopy(network)
            zero_share(scenarios(sparse, encoder)[name], share, seed=seed)
            compact = compress(sparse, tuple(example_inputs), objective=table, dynamic=False)
            assert isinstance(compact, CompactModel)
            files[name, share] = Path(folder) / f"{number}.onnx"
            export(compact, files[name, share])
            if not number:
                export(compact, files["dense", 0.0], which="dense")
            compact.dense = None  # as large as the network, and not needed any more
            results[name, share] = compact
        say("measure", 1)
        with translated():
            latencies, ratios, runtime = _measure(
                files, next(iter(results.values())), example_inputs, threads, seconds, rounds
            )
    first = results[steps[0]].report
    points = [Point("dense", 0.0, first.before.macs, first.before.num_params,
                    latencies["dense", 0.0], 1.0, (1.0, 1.0))]  # fmt: skip
    for key, compact in results.items():
        after, ratio = compact.report.after, ratios[key]
        points.append(Point(*key, after.macs, after.num_params, latencies[key], ratio.value,
                            (ratio.low, ratio.high)))  # fmt: skip
    looked_at = results[names[-1], LOOKED_AT].report
    return WhatIf(
        points=points,
        layers=shares(layer_shapes(network, example_inputs), looked_at.layers, table),
        opaque=looked_at.opaque,
        runtime=runtime,
        tuned=not_measured_here(table),
    )


def _measure(
    files: Mapping[tuple[str, float], Path],
    compact: CompactModel,
    inputs: Sequence[Tensor],
    threads: int,
    seconds: float,
    rounds: int,
) -> tuple[dict[tuple[str, float], float], dict[tuple[str, float], Ratio], str]:
    """Return the medians in ms, dense over each, and the runtime; all run in turns."""
    names = compact.manifest.input_names
    values = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    loaded = {key: open_session(path, threads=threads) for key, path in files.items()}
    timings = interleave(
        {str(key): each.bind(values) for key, each in loaded.items()},
        seconds=seconds,
        rounds=rounds,
    )
    clock = "cpu_ms" if threads == 1 else "wall_ms"
    times = {key: getattr(timings[str(key)], clock) for key in files}
    dense = times["dense", 0.0]
    return (
        {key: float(np.median(each)) for key, each in times.items()},
        {key: paired_ratio(dense, each) for key, each in times.items()},
        next(iter(loaded.values())).runtime,
    )
