"""The verb `inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.bench_options import Size, parse_size
from compactmtl.cli.console import console
from compactmtl.cli.inspect_text import part, text
from compactmtl.cli.options import Debug, Json, Quiet


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Checkpoint, compact model, ONNX or weights.")
    ],
    why: Annotated[
        str | None, typer.Option(metavar="LAYER", help="Why a layer has the channels it has.")
    ] = None,
    *,
    cost: Annotated[
        bool, typer.Option("--cost", help="Count MACs and memory (ONNX, OpenVINO).")
    ] = False,
    size: Size = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a model file is, layer by layer.

    Takes a checkpoint, a compact model or its folder, a run folder, an ONNX file, a state dict or
    safetensors. Nothing in the file is run. Zero groups are weights that read one input channel and
    are exactly 0; zero filters are those that make one output channel. --why takes a layer of a
    compact folder and says who reads each of its channels, and what kept it from being removed.

    --cost counts MACs, FLOPs (= 2 x MACs), parameters and memory of an ONNX file or an OpenVINO IR,
    layer by layer, at the sizes that are fixed in it, of the inputs.npz beside it, or of --size; an
    ONNX file is run once for that, if it has ONNX's own operators only.

    Examples:
      compactmtl inspect runs/rooms-demo-20250101-120000-0/ckpt.pt
      compactmtl inspect compact/
      compactmtl inspect compact/ --why encoder.layer3.2.conv1
      compactmtl inspect compact/model.onnx --cost --size 96x128
      compactmtl inspect compact/model.onnx --json | jq .totals
    """
    from compactmtl.cli.inspect_cost import show_cost
    from compactmtl.cli.inspect_why import show_why
    from compactmtl.inspection import inspect_file

    if why is not None:
        show_why(file, why)
        return
    if cost:
        console.result(show_cost(file, parse_size(size)))
        return
    found = inspect_file(file)
    facts = [(name, text(value)) for name, value in found.facts.items() if value is not None]
    tasks = [(name, text(spec.get("kind"))) for name, spec in found.tasks.items()]
    rows = [
        (
            layer.name,
            layer.kind,
            text(layer.shape),
            layer.num_params,
            part(layer.zero_groups, layer.num_groups),
            part(layer.zero_filters, layer.num_filters),
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
                part(total["zero_groups"], total["num_groups"]),
                part(total["zero_filters"], total["num_filters"]),
            ),
        ],
    )
    if file.suffix == ".onnx":
        console.info("--cost counts MACs and memory.")
    for note in found.notes:
        console.info(note)
    if found.what == "a compact model":
        console.info("--why LAYER says who reads a layer's channels, and what keeps them there.")
    console.result(document)
