"""The options of `export`, as annotated types, and what the library is asked for by them."""

from typing import Annotated

import typer

Target = Annotated[
    str,
    typer.Option("--target", metavar="NAME", help="Runtime to write for; onnx."),
]
Dense = Annotated[bool, typer.Option("--dense/--no-dense", help="Write the dense twin, too.")]
Opset = Annotated[
    int | None, typer.Option("--opset", metavar="N", help="ONNX operator set [default: 20].")
]
