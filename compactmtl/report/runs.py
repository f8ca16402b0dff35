"""The run folder a compact model was trained in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compactmtl.errors import MissingFileError
from compactmtl.files import read_json, sha256
from compactmtl.recipe import Recipe
from compactmtl.training.logs import read_log
from compactmtl.training.run import CHECKPOINT, RECIPE, STATUS, Run, read_recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One training run."""

    name: str
    recipe: Recipe
    recipe_text: str
    summary: Mapping[str, Any]
    """``run.json``."""
    epochs: tuple[Mapping[str, Any], ...]
    """``log.jsonl``, one row per epoch."""


def find_run(
    folder: Path, source: Mapping[str, Any], run: Path | None
) -> tuple[RunRecord | None, list[str]]:
    """Return the run behind a compact model, or say in a sentence why it is left out.

    Args:
        folder: The compact folder.
        source: Table ``source`` of its ``report.json``.
        run: The run folder the user named; None looks where ``source`` says.

    Raises:
        MissingFileError: The folder the user named is no run folder.
        RecipeError: Its recipe does not read.
        CorruptFileError: Its logs are damaged.
    """
    if run is not None and not (run / RECIPE).is_file():
        raise MissingFileError(
            f"`{run}` holds no {RECIPE}, expected a run folder",
            hint="`compactmtl runs` lists the run folders",
        )
    found = run or _recorded(folder, source)
    if found is None:
        return None, []
    checkpoint = found / CHECKPOINT
    if checkpoint.is_file() and source.get("sha256") not in (None, sha256(checkpoint)):
        return None, [
            f"{found.name}: its {CHECKPOINT} is not the one this model was compiled from "
            "(trained on since, or another run)."
        ]
    return RunRecord(
        name=found.resolve().name,
        recipe=read_recipe(Run(found)),
        recipe_text=(found / RECIPE).read_text(encoding="utf-8"),
        summary=read_json(found / STATUS),
        epochs=tuple(read_log(found)),
    ), []


def _recorded(folder: Path, source: Mapping[str, Any]) -> Path | None:
    """Return the run folder that ``report.json`` names, where it still stands."""
    if not source.get("run"):
        return None
    named = Path(str(source["run"]))
    # `compress` writes a path relative to the compact folder.
    candidates = (folder / named, named)
    return next((path for path in candidates if (path / RECIPE).is_file()), None)
