"""Named recipes: the TOML files of this folder."""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from compactmtl.errors import PartError
from compactmtl.parts import nearest
from compactmtl.recipe import Recipe, override, parse, parse_toml, read_toml


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def read(name: str) -> str:
    """Return a named recipe as TOML text.

    Raises:
        PartError: No recipe of this name.
    """
    if name not in names():
        raise PartError(
            f"no recipe called `{name}`{nearest(name, names())}",
            hint="`compactmtl recipes` lists them; a file of your own is written with its .toml",
        )
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def load(name: str, settings: Iterable[str] = ()) -> Recipe:
    """Return a recipe by its name or by the path of its TOML file, checked.

    Args:
        name: A name of ``names()``, or a path that ends in ``.toml``.
        settings: Overrides, as in ``train.epochs=3``.

    Raises:
        PartError: No recipe of this name.
        MissingFileError: No file at this path.
        RecipeError: Not TOML, an unknown key, a wrong type, or a contradiction.
    """
    is_file = name.endswith(".toml")
    source = name if is_file else f"recipe `{name}`"
    document = read_toml(Path(name)) if is_file else parse_toml(read(name), source=source)
    return parse(override(document, settings), source=source)
