"""Options that several verbs share, as annotated types.

Every verb takes the first three, last in its signature::

    def bench(folder: CompactFolder = DEFAULT_FOLDER, *, json: Json = False, quiet: Quiet = False,
              debug: Debug = False) -> None:

They configure the console while the command line is parsed; the body need not look at them.
"""

from pathlib import Path
from typing import Annotated

import typer

from compactmtl.cli.console import console

DEFAULT_FOLDER = Path("compact")
"""Where ``compress`` writes and everything behind it reads."""


def _json(value: bool) -> bool:
    if value:
        console.configure(json=True)
    return value


def _quiet(value: bool) -> bool:
    if value:
        console.configure(quiet=True)
    return value


def _debug(value: bool) -> bool:
    if value:
        console.configure(debug=True)
    return value


Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=_json, help="Print one JSON document on stdout, all else on stderr."
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", callback=_quiet, help="Print results and errors, no progress.")
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        callback=_debug,
        help="Keep the traceback of an error (also: COMPACTMTL_DEBUG=1).",
    ),
]

CompactFolder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="Folder that `compress` wrote.", show_default="compact"),
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder of data packs (default: $COMPACTMTL_DATA).",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="PATH", help="Where to write.")]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value; may be repeated."),
]
