"""The verb `inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Checkpoint, compact model, ONNX or weights.")
    ],
    why: Annotated[
        str | None, typer.Option(metavar="LAYER", help="Why a layer has the channels it has.")
    ] = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a model file is, layer by layer.

    Takes a checkpoint, a compact model or its folder, a run folder, an ONNX file, a state dict or
    safetensors. Nothing in the file is run. Zero groups are weights that read one input channel and
    are exactly 0; zero filters are those that make one output channel. --why takes a layer of a
    compact folder and says who reads each of its channels, and what kept it from being removed.

    Examples:
      compactmtl inspect runs/rooms-demo-20250101-120000-0/ckpt.pt
      compactmtl inspect compact/
      compactmtl inspect compact/ --why encoder.layer3.2.conv1
      compactmtl inspect compact/model.onnx --json | jq .totals
    """
    from compactmtl.cli.inspect_why import show_why
    from compactmtl.inspection import inspect_file

    if why is not None:
        show_why(file, why)
        return
    found = inspect_file(file)
    facts = [(name, _text(value)) for name, value in found.facts.items() if value is not None]
    tasks = [(name, _text(spec.get("kind"))) for name, spec in found.tasks.items()]
    rows = [
        (
            layer.name,
            layer.kind,
            _text(layer.shape),
            layer.num_params,
            _part(layer.zero_groups, layer.num_groups),
            _part(layer.zero_filters, layer.num_filters),
        )
        for layer in found.layers
    ]
    document = found.to_dict()
    total = document["totals"]
    console.table("", ("", ""), [("file", found.file), ("what", found.what), *facts])
    if tasks:
        console.table("\nTasks", ("task", "kind"), tasks)
    console.table(
        "\nLayers",
        ("layer", "kind", "weight", "parameters", "zero groups", "zero filters"),
        [
            *rows,
            (
                "total",
                f"{len(rows)} layers",
                "",
                found.num_params,
                _part(total["zero_groups"], total["num_groups"]),
                _part(total["zero_filters"], total["num_filters"]),
            ),
        ],
    )
    for note in found.notes:
        console.info(note)
    if found.what == "a compact model":
        console.info("--why LAYER says who reads a layer's channels, and what keeps them there.")
    console.result(document)


def _part(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        separator = " x " if any(isinstance(item, int) for item in value) else ", "
        return separator.join(_text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else f"{value}"
