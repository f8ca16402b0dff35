"""The presets: `corrected`, which our recipes are, and `as-published`, quirk by quirk."""

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

CORRECTED, AS_PUBLISHED = "corrected", "as-published"
PRESETS = (CORRECTED, AS_PUBLISHED)


@dataclass(frozen=True)
class Change:
    """Settings of a recipe on rows, which are patterns of table/row."""

    rows: tuple[str, ...]
    settings: tuple[str, ...]

    def applies(self, cell: str) -> bool:
        """Tell whether ``table/row`` is meant."""
        return any(fnmatchcase(cell, pattern) for pattern in self.rows)


@dataclass(frozen=True)
class Quirk:
    """One thing that was published otherwise than we would do it.

    Attributes:
        name: Its name.
        reading: Id of the reading that explains it.
        says: What it does, in a phrase.
        does: Settings on rows; empty where it is not reproduced.
        why_not: Why it is not; "" where it is.
        selection: "last_10" where the value is read from the last ten validation epochs.
    """

    name: str
    reading: str
    says: str
    does: tuple[Change, ...] = ()
    why_not: str = ""
    selection: str = ""

    def settings(self, cell: str) -> tuple[str, ...]:
        """Return its settings for ``table/row``; empty where it changes nothing."""
        return tuple(s for change in self.does if change.applies(cell) for s in change.settings)


@cache
def quirks() -> dict[str, Quirk]:
    """Return every quirk by its name."""
    text = resources.files(__package__).joinpath("quirks.toml").read_text(encoding="utf-8")
    found = {}
    for entry in tomllib.loads(text)["quirks"]:
        does = tuple(
            Change(tuple(change["rows"]), tuple(change["settings"]))
            for change in entry.pop("does", [])
        )
        found[entry["name"]] = Quirk(**entry, does=does)
    return found


def quirks_of(preset: str, cell: str) -> list[Quirk]:
    """Return the quirks that a preset applies to ``table/row``."""
    if preset == CORRECTED:
        return []
    return [quirk for quirk in quirks().values() if quirk.settings(cell)]
