"""The options of `bench`, as annotated types."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.errors import UsageError

Targets = Annotated[
    list[Path] | None, typer.Argument(metavar="FOLDER|FILES...", show_default="compact")
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="cpu, cuda or jetson.")]
Provider = Annotated[
    list[str] | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="For ONNX files: cpu, cuda or tensorrt; several times for several candidates.",
    ),
]
Torch = Annotated[
    list[str] | None,
    typer.Option("--torch", metavar="MODE", help="Also in torch: eager or compile; or both."),
]
CudaGraph = Annotated[
    bool,
    typer.Option(
        "--cuda-graph",
        help="Record what computes on a GPU (engines, ONNX Runtime, torch) as CUDA graphs. Never "
        "run on hardware.",
    ),
]
Threads = Annotated[int, typer.Option("--threads", help="Threads of each runtime.")]
Batch = Annotated[int, typer.Option("--batch", help="Batch size.")]
Size = Annotated[
    str | None,
    typer.Option("--size", metavar="HxW", help="Image size [default: of the stored inputs]."),
]
Seconds = Annotated[float, typer.Option("--seconds", help="Least time of all in turns.")]
Rounds = Annotated[int, typer.Option("--rounds", help="Least number of rounds.")]
Roofline = Annotated[
    bool,
    typer.Option("--roofline", help="Show which layers are far from this machine's limits."),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit", metavar="S", help="End in words if loading or one call takes longer."
    ),
]
Baseline = Annotated[
    Path | None,
    typer.Option(
        "--baseline", metavar="RECORD", help="An earlier bench.json; exit 23 if slower than it."
    ),
]
MaxRegression = Annotated[
    str, typer.Option("--max-regression", metavar="P%", help="Growth of the time that is let be.")
]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Read HEIGHTxWIDTH.

    Raises:
        UsageError: It is something else.
    """
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise UsageError(f"--size {text!r}: expected HEIGHTxWIDTH, as in 96x128")
    return int(height), int(width)
