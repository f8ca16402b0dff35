"""The verb `whatif`."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet


def whatif(
    *,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Your network: package.module:factory.")
    ],
    inputs: Annotated[
        list[str], typer.Option("--input", metavar="NAME=SHAPE", help="As in image=1x3x224x224.")
    ],
    budget_ms: Annotated[
        float | None, typer.Option("--budget-ms", metavar="MS", help="Latency to be met.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Layers of the encoder; may be repeated."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cost table that `calibrate` wrote.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", help="Threads of the runtime.")] = 1,
    seconds: Annotated[float, typer.Option("--seconds", help="Least time of measuring.")] = 10.0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what group sparsity would gain on this machine, before you train.

    Needs no weights, no data and no training: zero groups are drawn from a seed, at 30, 50, 70 and
    85 % of every layer, in the encoder alone and in encoder and heads. Each network is compiled,
    checked, exported and measured in turns with the dense one. Prints latency against sparsity,
    the layers that pay most, the ops that keep their channels, and the sparsity a budget needs.

    Accuracy is no part of the answer: whether a network can be trained that sparse, only training
    tells. The encoder is what the network declares in `encoder_layers` and `head_reads`, or
    --encoder; without either, all layers are one scenario.

    Examples:
      compactmtl whatif --model torchvision.models:resnet50 --input image=1x3x224x224
      compactmtl whatif --model mynet:build --input image=1x3x384x640 --budget-ms 12
      --encoder 'backbone.*'
    """
    from compactmtl.cli.whatif_table import show  # the library imports torch
    from compactmtl.compiler.source import load_network
    from compactmtl.compiler.table import CostTable
    from compactmtl.study.whatif import whatif as study

    network, examples = load_network(model, inputs)
    with console.steps("whatif") as step:
        found = study(
            network,
            examples,
            encoder=encoder,
            table=None if table is None else CostTable.load(table),
            threads=threads,
            seconds=seconds,
            progress=step,
        )
    show(found, budget_ms, threads)
