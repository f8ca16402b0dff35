"""What `data check` does: find out what a folder is, read it, print what was found."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from compactmtl.cli.console import console
from compactmtl.cli.data_check_table import report
from compactmtl.data.catalogue import CATALOGUE
from compactmtl.data.check import DataCheck, check_data
from compactmtl.data.layouts import Found, recognise
from compactmtl.errors import UsageError
from compactmtl.parts import is_foreign
from compactmtl.recipe import override


def check(
    folder: Path | None, name: str | None, settings: list[str], limit: int | None, out: Path
) -> int:
    """Check a folder, or the user's own data set; return the exit code."""
    args: dict[str, Any] = override({}, settings)
    known = CATALOGUE.get(name or "")
    if name is not None and (is_foreign(name) or (known is not None and not known.files)):
        if folder is not None and is_foreign(name):
            args = {"root": str(folder), **args}
        elif folder is not None:
            args = {"root": str(folder.resolve().parent), "folder": folder.resolve().name, **args}
        return report([(None, _read(name, args, limit))], out)
    if folder is None:
        raise UsageError("no folder to check", hint="compactmtl data check DIR")
    found = recognise(folder, name)
    console.info(f"`{folder}` holds: " + ", ".join(f.known.name for f in found))
    checked: list[tuple[Found | None, DataCheck | None]] = []
    for data_set in found:
        complete = not data_set.missing
        reading = {**data_set.arguments(), **args} if complete else {}
        checked.append((data_set, _read(data_set.known.name, reading, limit) if complete else None))
    return report(checked, out)


def _read(name: str, args: dict[str, Any], limit: int | None) -> DataCheck:
    with ExitStack() as open_bars:

        def started(split: str, number: int) -> Callable[[], None]:
            open_bars.close()
            advance = open_bars.enter_context(console.progress(f"{name}, {split}", number))
            return lambda: advance()

        return check_data(name, args, limit=limit, progress=started)
