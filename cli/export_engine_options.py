"""The options of `export` that are for engines, as annotated types."""

from typing import Annotated

import typer

Batch = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="MIN:OPT:MAX",
        help="Batch sizes of an engine, as in 4 or 1:4:16 [default: 1:1:N of the stored samples].",
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="HxW",
        help="Image size of an engine, as in 384x640, or min:opt:max [default: the samples'].",
    ),
]
Workspace = Annotated[
    str | None,
    typer.Option(
        "--workspace", metavar="SIZE", help="Memory an engine may use beside its tensors [1GiB]."
    ),
]
Capabilities = Annotated[
    list[str] | None,
    typer.Option(
        "--compute-capability",
        metavar="N.N",
        help="GPU to build for, as in 8.9; may be repeated (tensorrt-rtx).",
    ),
]
VersionCompatible = Annotated[
    bool,
    typer.Option(
        "--version-compatible", help="Later versions of TensorRT can run the engine (tensorrt)."
    ),
]
HardwareCompatible = Annotated[
    bool,
    typer.Option(
        "--hardware-compatible",
        help="Other GPUs from Ampere on can run the engine (tensorrt, not on a Jetson).",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host", metavar="USER@BOARD", help="Build there, by ssh, and bring it back (tensorrt)."
    ),
]
