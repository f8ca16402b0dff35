"""The verb `data`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet
from compactmtl.errors import UsageError

PICTURE = Path("data-check.png")


def data(
    action: Annotated[Literal["list", "check"], typer.Argument(metavar="list|check")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder to check.", show_default=False)
    ] = None,
    *,
    name: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="NAME", help="It is this data set, or package.module:Class."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Argument of the data set; may be repeated."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Read at most so many of each split, evenly spread."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="PNG", help="Where samples are drawn.")
    ] = PICTURE,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """List the data sets that can be read, or check a folder before you train on it.

    `data check DIR` says which data set DIR is (or holds), what is missing, how many samples each
    split has and how many of them each task is labelled in, and the range of the values. It finds
    labels out of range, depth in another unit, normals that are no unit vectors, files of another
    shape and damaged files, and draws samples with their targets. Exit code 16: something is wrong.

    Examples:
      compactmtl data list
      compactmtl data check ~/data/nyuv2
      compactmtl data check ~/data --data celebamask_hq --limit 500
      compactmtl data check --data mypackage.data:MyData --set size=128
    """
    if action == "list":
        if folder is not None or name is not None:
            raise UsageError("`data list` takes no folder and no --data")
        from compactmtl.cli.data_table import listing

        rows = listing()
        console.table("", ["data set", "", ""], [line for row in rows for line in row.lines()])
        console.result({"data_sets": [row.to_dict() for row in rows]})
        return 0

    from compactmtl.cli.data_check import check

    return check(folder, name, settings or [], limit, out)
