"""How `inspect --cost` shows what a file costs."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from compactmtl.cli.console import console

COLUMNS = ("layer", "op", "MACs", "parameters", "output", "in kB", "out kB", "weights kB")


def show_cost(path: Path, size: tuple[int, int] | None) -> dict[str, Any]:
    """Print totals and layers of a file's cost; returns them as data."""
    from compactmtl.bench.file_cost import file_cost

    counted = file_cost(path, size=size)
    found = counted.complexity
    shapes = ", ".join(f"{name} {_shape(shape)}" for name, shape in counted.shapes.items())
    plus = "+" if found.uncounted else ""
    console.table(
        f"\nCost at {shapes}",
        ("", ""),
        [
            ("MACs", f"{found.macs:,}{plus}"),
            ("FLOPs (= 2 x MACs)", f"{found.flops:,}{plus}"),
            ("parameters", f"{found.num_params:,}"),
            ("weights", f"{found.weights_bytes:,} bytes"),
            ("activations at their peak", f"{found.peak_activation_bytes:,} bytes"),
        ],
    )
    console.table(
        "\nCost by layer",
        COLUMNS,
        [
            (
                layer.name,
                layer.op,
                layer.macs,
                layer.num_params,
                _shape(layer.output_shape),
                f"{layer.input_bytes / 1e3:.1f}",
                f"{layer.output_bytes / 1e3:.1f}",
                f"{layer.weight_bytes / 1e3:.1f}",
            )
            for layer in found.layers
        ],
    )
    if found.uncounted:
        console.info(f"Not counted: what {', '.join(found.uncounted)} computes.")
    console.info(
        "The peak is the largest sum of values that are needed at one time, in the order of the "
        "file, nothing computed in place; weights are not in it."
    )
    return {"shapes": counted.shapes, **asdict(found), "flops": found.flops}


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
