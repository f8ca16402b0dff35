"""The options of `compactmtl train`, as annotated types."""

from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[
    str | None, typer.Argument(metavar="RECIPE", help="A recipe's name, or its TOML file.")
]
Tasks = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Only these of the recipe's tasks, as in seg,depth."),
]
Resume = Annotated[
    Path | None, typer.Option(metavar="RUN", help="Go on with this run folder or its ckpt.pt.")
]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
Precision = Annotated[
    str | None, typer.Option(metavar="NAME", help="32-true, bf16-mixed, 16-mixed, 64-true.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random.")]
Init = Annotated[Path | None, typer.Option(metavar="FILE", help="Start from these weights.")]
Runs = Annotated[
    Path, typer.Option(metavar="DIR", help="Where run folders are made.", show_default="runs")
]
RunFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Exactly this (new) run folder.")
]
Logger = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="tensorboard, wandb, mlflow; may be repeated."),
]
