"""The verb `compress`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import DEFAULT_FOLDER, DataFolder, Debug, Json, Quiet
from compactmtl.errors import UsageError


def compress(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="FILE", help="ckpt.pt, a run folder, or any file of weights.")
    ],
    prune_zero_channels: Annotated[
        bool,
        typer.Option("--prune-zero-channels", help="Remove the channels that nothing depends on."),
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Where to write.")
    ] = DEFAULT_FOLDER,
    objective: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="latency, macs or params; implies the removal."),
    ] = None,
    no_gather: Annotated[
        bool, typer.Option("--no-gather", help="No layer reads through a gather.")
    ] = False,
    static: Annotated[
        bool, typer.Option("--static", help="Fix batch and size at those of the example.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Your network: package.module:factory.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=SHAPE", help="As in image=1x3x384x640."),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Names of the outputs, as in seg,depth.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your recipe, if it names your own code.")
    ] = None,
    data: DataFolder = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compile a checkpoint into a compact model, exactly.

    Contracts overparameterised layers; with --prune-zero-channels removes every channel that no
    output depends on. Proves that the outputs are the same, in float64 and float32, before it
    writes model.pt2, dense.pt2 (the dense twin), weights.safetensors, plan.json, report.json and
    inputs.npz. Without --prune-zero-channels it says what could be removed.

    Examples:
      compactmtl compress runs/rooms-demo-20260102-030405-0/ckpt.pt --prune-zero-channels
      compactmtl compress ckpt.pt --objective macs -o compact-macs
      compactmtl compress weights.safetensors --model mynet:build --input image=1x3x384x640
      --outputs seg,depth --prune-zero-channels
    """
    if data is not None:
        os.environ["COMPACTMTL_DATA"] = str(data)

    from compactmtl.cli.compress_table import show  # the library imports torch
    from compactmtl.compiler import compress as run_compiler
    from compactmtl.compiler.folder import check_folder, write_folder
    from compactmtl.compiler.source import load_source
    from compactmtl.models.recipes import load

    prune = prune_zero_channels or objective is not None
    _check(no_gather, prune)
    check_folder(out)
    with console.steps("compress") as step:
        step("load", 2)
        source = load_source(
            checkpoint,
            model=model,
            recipe=None if recipe is None else load(str(recipe), ()),
            inputs=inputs or (),
        )
        compact = run_compiler(
            source.model,
            source.example_inputs,
            prune_zero_channels=prune,
            objective=objective or "latency",
            gather=not no_gather,
            dynamic=not static,
            images=source.images,
            input_names=source.input_names,
            output_names=outputs.split(",") if outputs is not None else None,
            tasks=source.tasks,
            parent=source.parent,
            recipe=source.recipe,
            progress=lambda name, left: step(name, left + 1),
        )
        step("write", 1)
        document: dict[str, Any] = write_folder(
            compact,
            out,
            images=source.images,
            origin=source.origin,
            run=os.path.relpath(source.run, out) if source.run else "",
        )
    show(document, out, source.how)


def _check(no_gather: bool, prune: bool) -> None:
    if no_gather and not prune:
        raise UsageError(
            "--no-gather says how channels are removed, but none are",
            hint="add --prune-zero-channels",
        )
