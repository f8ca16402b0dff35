"""The options of `export`, as annotated types, and what the library is asked for by them."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from compactmtl.cli.export_precision import parse_drops

if TYPE_CHECKING:
    from compactmtl.export.options import Options
    from compactmtl.export.options import Precision as PrecisionName

Target = Annotated[
    str, typer.Option("--target", metavar="NAME", help="Runtime to write for; --list shows all.")
]
List = Annotated[
    bool, typer.Option("--list", help="Say what each target can do here, and write nothing.")
]
Install = Annotated[
    bool,
    typer.Option(
        "--install",
        help="First install the target's converter, in an environment of its own; "
        "where there is no compact/, nothing else.",
    ),
]
Dense = Annotated[bool, typer.Option("--dense/--no-dense", help="Write the dense twin, too.")]
Opset = Annotated[
    int | None, typer.Option("--opset", metavar="N", help="ONNX operator set [default: 20].")
]
Simplify = Annotated[
    bool, typer.Option("--simplify", help="Keep what onnxsim makes of the file if it is smaller.")
]


def make_options(
    *,
    opset: int | None,
    simplify: bool,
    precision: str,
    calibration: str | None,
    max_drop: list[str] | None,
    batch: str | None,
    size: str | None,
    workspace: str | None,
    compute_capabilities: list[str] | None,
    version_compatible: bool,
    hardware_compatible: bool,
    host: str | None,
) -> "Options":
    """Read what was typed.

    Raises:
        UsageError: It is not of the form that the option's help shows.
    """
    from compactmtl.board.recipe import WORKSPACE_BYTES
    from compactmtl.board.words import parse_batch, parse_bytes, parse_capability, parse_size
    from compactmtl.export.board_errors import translated
    from compactmtl.export.options import Options

    with translated():
        return Options(
            opset=opset,
            simplify=simplify,
            precision=cast("PrecisionName", precision),  # checked against what the target writes
            calibration=calibration,
            max_drop=parse_drops(max_drop or ()),
            batch=None if batch is None else parse_batch(batch),
            size=None if size is None else parse_size(size),
            workspace_bytes=WORKSPACE_BYTES if workspace is None else parse_bytes(workspace),
            compute_capabilities=tuple(map(parse_capability, compute_capabilities or ())),
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            host=host,
        )
