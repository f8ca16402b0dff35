"""The options of `compress`, as annotated types."""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.errors import UsageError

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="ckpt.pt, a run folder, or any file of weights.")
]
Prune = Annotated[
    bool, typer.Option("--prune-zero-channels", help="Remove the channels that nothing depends on.")
]
OutFolder = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where to write.")]
Objective = Annotated[
    str | None, typer.Option(metavar="NAME", help="latency, macs or params; implies the removal.")
]
Table = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Cost table that `calibrate` wrote.")
]
Variant = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="by-cost, no-gathers, aligned or least-macs; implies the removal.",
    ),
]
Variants = Annotated[
    bool,
    typer.Option("--variants", help="Write the other plans too, for `export` and `bench` to rank."),
]
NoGather = Annotated[bool, typer.Option("--no-gather", help="No layer reads through a gather.")]
Tasks = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Compile for these outputs only, as in seg,depth; implies the removal.",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="RMS",
        help="Treat input groups W[:, c], of any layer, as zero whose root mean square (l2 norm "
        "over the square root of their size) is below this; changes the outputs, the report says "
        "how far; implies the removal.",
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Compile this submodule alone, as in encoder; cm.stitch puts it back into yours.",
    ),
]
Finetune = Annotated[
    str | None,
    typer.Option(metavar="RECIPE", help="Train the compact model further by this recipe."),
]
FinetuneRun = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Run folder of --finetune; one that was interrupted is gone on with."
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", help="Let --finetune begin with first weights: a dense network at these widths."
    ),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule", metavar="NAME", help="Your rule: package.module:MyRule; may be repeated."
    ),
]
Static = Annotated[
    bool, typer.Option("--static", help="Fix batch and size at those of the example.")
]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Your network: package.module:factory.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="NAME=SHAPE", help="As in image=1x3x384x640, or index=1x8:int64."
    ),
]
Outputs = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Names of the outputs, as in seg,depth.")
]
Recipe = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Your recipe, if it names your own code.")
]


def words(text: str | None) -> list[str] | None:
    """Return the names in ``seg,depth``; None where the option is not given."""
    return None if text is None else text.split(",")


def check_removal(prune: bool, **given: bool) -> None:
    """Refuse options, given by their names, that say how channels are removed where none are.

    Raises:
        UsageError: One is given; it would say nothing.
    """
    for name in (name for name, is_given in given.items() if is_given and not prune):
        raise UsageError(
            f"--{name.replace('_', '-')} says how channels are removed, but none are",
            hint="add --prune-zero-channels",
        )


def check_finetune(recipe: str | None, run: Path | None, *, fresh: bool, variants: bool) -> None:
    """Refuse what does not go together with further training.

    Raises:
        UsageError: A run folder or first weights without a recipe, or variants, which would keep
            the old weights.
    """
    if fresh and recipe is None:
        raise UsageError(
            "--fresh says how --finetune begins, but nothing is trained",
            hint="add --finetune RECIPE",
        )
    if run is not None and recipe is None:
        raise UsageError(
            "--finetune-run says where --finetune trains, but nothing is trained",
            hint="add --finetune RECIPE",
        )
    if recipe is not None and variants:
        raise UsageError(
            "--finetune trains one model, --variants writes several",
            hint="let bench choose a variant first, then --variant NAME --finetune RECIPE",
        )


def check_one_graph(**given: bool) -> None:
    """Refuse options, given by their names, that are for networks of one graph.

    Raises:
        UsageError: One is given.
    """
    for name in (name for name, is_given in given.items() if is_given):
        raise UsageError(f"--{name} is for networks of one graph; this one is compiled in parts")
