"""What `compactmtl whatif` prints."""

from dataclasses import asdict

from compactmtl.cli.console import console
from compactmtl.study.budget import needs
from compactmtl.study.whatif import LOOKED_AT, WhatIf

NUM_LAYERS = 10


def show(found: WhatIf, budget_ms: float | None, threads: int) -> None:
    """Print the tables and the answer to the budget, or everything as JSON."""
    clock = "CPU time, 1 thread" if threads == 1 else f"wall time, {threads} threads"
    console.table(
        f"Latency against sparsity ({found.runtime}, {clock}, p50)",
        ["zero groups in", "share", "GMACs", "parameters", "ms", "dense/this", "95 %"],
        [
            [
                point.scenario,
                f"{point.sparsity:.0%}",
                f"{point.macs / 1e9:.3f}",
                point.num_params,
                f"{point.latency_ms:.2f}",
                f"{point.speedup:.2f}",
                "{:.2f} - {:.2f}".format(*point.interval),
            ]
            for point in found.points
        ],
    )
    console.table(
        f"Layers that pay most at {LOOKED_AT:.0%}, by the cost table",
        ["layer", "of MACs", "of time", "saves of time"],
        [
            [
                layer.name,
                f"{layer.macs_share:.1%}",
                f"{layer.time_share:.1%}",
                f"{layer.saved_share:.1%}",
            ]
            for layer in found.layers[:NUM_LAYERS]
        ],
    )
    if found.opaque:
        console.table(
            "Ops that keep their channels",
            ["op", "why", "where"],
            [[op["op"], op["why"], op["source"]] for op in found.opaque],
        )
    if found.tuned:
        console.info(f"cost table: {found.tuned}; `compactmtl calibrate` measures this machine")
    answers = [] if budget_ms is None else needs(found.points, budget_ms)
    for need in answers:
        console.info(need.said)
    console.info("Accuracy is no part of this: the zero groups are drawn, not trained.")
    console.result({**found.to_dict(), "budget": [asdict(need) for need in answers]})
