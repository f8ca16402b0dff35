"""The verb `recipes`."""

import sys
from typing import Annotated

import typer

from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this recipe as TOML.")
    ] = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the named recipes, or print one as TOML.

    A printed recipe is a file to start your own from: it can be edited and trained by its path.

    Examples:
      compactmtl recipes
      compactmtl recipes rooms-demo > mine.toml && compactmtl train mine.toml
      compactmtl recipes --json
    """
    from compactmtl.models.recipes import load, names, read  # not needed by the other verbs

    if name is not None:
        text = read(name)
        if not console.json:
            sys.stdout.write(text)
        console.result({"name": name, "recipe": load(name).to_dict()})
        return
    found = {known: load(known) for known in names()}
    console.table(
        "",
        ["recipe", "data", "what it does"],
        [[known, recipe.data.name, recipe.description] for known, recipe in found.items()],
    )
    console.result(
        {
            "recipes": [
                {"name": known, "data": recipe.data.name, "description": recipe.description}
                for known, recipe in found.items()
            ]
        }
    )
