"""Why a layer of a compact model has the channels it has, read from ``why.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compactmtl.channel_runs import from_runs
from compactmtl.errors import CorruptFileError, MissingFileError, UsageError
from compactmtl.files import read_json, sha256
from compactmtl.lineage import MODEL
from compactmtl.parts import nearest

WHY = "why.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What is known of one layer.

    Attributes:
        layer: Its name.
        facts: What the compiler wrote: op, source line, kept channels, who reads them, why those
            that nobody reads are there, and how it reads its input.
    """

    layer: str
    facts: Mapping[str, Any]

    def by_channel(self) -> dict[int, list[str]]:
        """Return for each kept channel who reads it, or why it is there if nobody does."""
        reasons: dict[int, list[str]] = {c: [] for c in from_runs(self.facts["kept"]["channels"])}
        for key, what in (("readers", "name"), ("unread", "why")):
            for entry in self.facts[key]:
                for channel in from_runs(entry["channels"]):
                    reasons[channel].append(entry[what])
        return reasons

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"layer": self.layer, **self.facts, "by_channel": self.by_channel()}


def read_why(folder: Path) -> dict[str, Any]:
    """Return the content of a compact folder's ``why.json``.

    Raises:
        MissingFileError: There is none.
        CorruptFileError: It is damaged, of another format, or describes another model.
    """
    path = folder / WHY
    if not path.is_file():
        raise MissingFileError(
            f"`{folder}` holds no {WHY}, expected a folder that `compactmtl compress` wrote",
            hint="compress again; what wrote this folder did not explain itself yet",
        )
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format_version") != FORMAT_VERSION:
        raise CorruptFileError(
            f"`{path}` is not of format version {FORMAT_VERSION}", hint="compress again"
        )
    if not (isinstance(document.get("layers"), dict) and isinstance(document.get("streams"), list)):
        raise CorruptFileError(f"`{path}` lists no layers and streams", hint="compress again")
    described = (document.get("model") or {}).get("sha256")
    if not (folder / MODEL).is_file() or described != sha256(folder / MODEL):
        raise CorruptFileError(
            f"`{path}` describes another {MODEL} than the one beside it", hint="compress again"
        )
    return document


def explain_layer(path: Path, layer: str) -> Explanation:
    """Say why a layer has the channels it has.

    Args:
        path: A compact folder, or the model in it.
        layer: The layer's dotted name in the original network.

    Raises:
        MissingFileError: There is no ``why.json``.
        CorruptFileError: It does not belong to the model.
        UsageError: There is no layer of that name.
    """
    layers: dict[str, Any] = read_why(path if path.is_dir() else path.parent)["layers"]
    if layer not in layers:
        inside = [name for name in layers if name.startswith(f"{layer}.")]
        shown = ", ".join((inside or list(layers))[:6])
        raise UsageError(
            f"no layer called `{layer}`, expected the name of one convolution or linear layer"
            f"{nearest(layer, layers)}",
            hint=f"layers {f'in `{layer}`' if inside else 'there are'}: {shown}, ...",
        )
    return Explanation(layer=layer, facts=layers[layer])
