"""Find out what a folder is: which of the known layouts, and what of it is missing."""

from dataclasses import dataclass
from pathlib import Path

from compactmtl.data.catalogue import CATALOGUE, Known
from compactmtl.errors import DataError, MissingFileError, UsageError
from compactmtl.parts import nearest


@dataclass(frozen=True)
class Found:
    """A data set that a folder holds, wholly or in part."""

    known: Known
    place: Path
    """Its own folder."""
    missing: tuple[str, ...]
    """Files and folders of its layout that are not there."""

    def arguments(self) -> dict[str, str]:
        """Return the data set's arguments that read this folder.

        Raises:
            UsageError: The folder must have another name to be read.
        """
        if self.known.takes_folder:
            return {"root": str(self.place.parent), "folder": self.place.name}
        if self.place.name != self.known.folder:
            raise UsageError(
                f"`{self.place}` is {self.known.name}, but is read only where its folder is "
                f"called `{self.known.folder}`",
                hint=f"rename it to {self.place.with_name(self.known.folder)}",
            )
        return {"root": str(self.place.parent)}


def recognise(folder: Path, name: str | None = None) -> list[Found]:
    """Return the data sets that a folder is, or holds as folders: the most complete first.

    Args:
        folder: A data set's own folder, or one of several data sets.
        name: Look for this data set only.

    Raises:
        MissingFileError: There is no such folder.
        UsageError: No data set of this name.
        DataError: It holds nothing of a known layout; says what was looked for.
    """
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: `{folder}`")
    if name is not None and name not in CATALOGUE:
        raise UsageError(
            f"no data set called `{name}`{nearest(name, CATALOGUE)}",
            hint=f"there are: {', '.join(CATALOGUE)}",
        )
    folder = folder.resolve()
    wanted = [known for known in CATALOGUE.values() if known.files and name in (None, known.name)]
    if not wanted:
        raise UsageError(f"data set `{name}` needs no folder", hint="there is nothing to check")
    found = []
    for known in wanted:
        for place in (folder, folder / known.folder):
            missing = tuple(file for file in known.files if not _is_there(place, file))
            if len(missing) < len(known.files):
                found.append(Found(known, place, missing))
                break
    if not found:
        raise _unknown(folder, wanted)
    own = [f for f in found if f.place == folder]  # then what lies beside its files is part of it
    whole = [f for f in own if not f.missing]
    return sorted(whole or own or found, key=lambda f: len(f.missing) / len(f.known.files))


def _is_there(place: Path, file: str) -> bool:
    return any(
        (place / choice).is_dir() if choice.endswith("/") else (place / choice).is_file()
        for choice in file.split("|")
    )


def _unknown(folder: Path, wanted: list[Known]) -> DataError:
    inside = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(inside[:6]) + (", ..." if len(inside) > 6 else "")
    if len(wanted) == 1:
        (known,) = wanted
        return DataError(
            f"`{folder}` has nothing of {known.name}; it holds: {shown or 'nothing'}",
            hint=f"{known.name} is: {known.layout}; {known.origin}",
        )
    return DataError(
        f"`{folder}` is of no layout that the library knows; it holds: {shown or 'nothing'}",
        hint="`compactmtl data list` says what can be read; your own is a class of yours, "
        "--data package.module:Class",
    )
