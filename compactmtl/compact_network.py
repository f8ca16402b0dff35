"""A compact network that is no single graph: compact parts, and the library's Python around them.

On disk it is a folder: ``parts.json`` says what it is and which parts belong to it, each part is a
compact folder of its own. No code is read from it: the Python is that of ``models.PIPELINES``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from compactmtl.compact import CompactModel, CompressReport, Cost, InputSpec, load, load_folder
from compactmtl.errors import CorruptFileError, UsageError
from compactmtl.files import make_folder, read_json, sha256, write_json
from compactmtl.lineage import MODEL, PARTS
from compactmtl.models import PIPELINES


class Member(BaseModel):
    """One part: its dotted name in the network, and the fingerprint of its compact model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    module: str
    sha256: str


class NetworkManifest(BaseModel):
    """What a compact network is, independent of its weights.

    Attributes:
        image: The images it was compiled with.
        processing: What makes the network of its parts; its ``kind`` is one of ``PIPELINES``.
        parts: Its parts by name, in the order of their calls; filled where it is saved.
        tasks: Per task its specification.
        parent: File name and SHA-256 of what it was made from.
        recipe: The recipe of the run, if the checkpoint had one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    image: InputSpec
    processing: dict[str, Any]
    parts: dict[str, Member] = Field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = {}
    parent: dict[str, str] = {}
    recipe: dict[str, Any] | None = None


@dataclass
class NetworkReport:
    """What the compiler did.

    Attributes:
        before: Cost of the dense network for one image: every part as often as it is called.
        after: Cost of the compact one.
        calls: Per part the inputs it computes for one image, on average: 1, or a number of RoIs.
        parts: The report of each part; its costs are for one input.
        whole: How whole images were compared, and how close they were.
        seconds: Wall time per part and of the comparison.
    """

    before: Cost
    after: Cost
    calls: dict[str, float] = field(default_factory=dict)
    parts: dict[str, CompressReport] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def max_rel_error(self) -> float:
        """Return the largest float32 error of any part against the float64 reference."""
        return max((part.max_rel_error for part in self.parts.values()), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            **vars(self),
            "before": vars(self.before),
            "after": vars(self.after),
            "parts": {name: part.to_dict() for name, part in self.parts.items()},
        }


@dataclass
class CompactNetwork:
    """A network whose static parts are compact; ``module(images)`` returns what it returned.

    Attributes:
        module: The whole network, with the compact parts in it.
        dense: The whole network with the parts' dense twins; None where they were not loaded.
        parts: The compact parts by name.
        manifest: What it is.
        report: What the compiler did; None where it was loaded.
    """

    module: nn.Module
    dense: nn.Module | None
    parts: dict[str, CompactModel]
    manifest: NetworkManifest
    report: NetworkReport | None = None

    def example_inputs(self) -> tuple[Tensor, ...]:
        """Return random images of the example shape, on the CPU."""
        return (self.manifest.image.example(),)

    def save(self, folder: str | Path) -> None:
        """Write ``parts.json`` and, per part, ``model.pt2`` and ``dense.pt2``.

        Raises:
            WriteError: The folder cannot be written.
        """
        for name, part in self.parts.items():
            place = make_folder(Path(folder) / name)
            part.save(place / MODEL)
            part.save(place / "dense.pt2", which="dense")
        self.write_manifest(Path(folder))

    def write_manifest(self, folder: Path) -> None:
        """Write ``parts.json`` beside parts that are written already."""
        members = {
            name: Member(module=part.manifest.part, sha256=sha256(folder / name / MODEL))
            for name, part in self.parts.items()
        }
        document = self.manifest.model_copy(update={"parts": members})
        write_json(folder / PARTS, document.model_dump(mode="json"))


def read_network(folder: Path) -> NetworkManifest:
    """Read ``parts.json``, and check that the parts are those it was written with.

    Raises:
        MissingFileError: It, or a part, is not there.
        CorruptFileError: It is damaged, or a part is another one.
    """
    path = folder / PARTS
    try:
        manifest = NetworkManifest.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(
            f"`{path}` does not describe a compact network: `{place}`: {first['msg']}",
            hint="compress again",
        ) from error
    kind = manifest.processing.get("kind")
    if kind not in PIPELINES:
        raise CorruptFileError(
            f"`{path}`: no network of kind {kind!r}, expected one of {', '.join(PIPELINES)}",
            hint="was it written by a later version of compactmtl?",
        )
    for name, member in manifest.parts.items():
        if name != Path(name).name:  # never outside the folder
            raise CorruptFileError(f"`{path}`: `{name}` is no name of a part")
        if sha256(folder / name / MODEL) != member.sha256:
            raise CorruptFileError(
                f"`{folder / name / MODEL}` is not the one that `{path}` was written with",
                hint="compress again: the parts of a network belong together",
            )
    return manifest


def load_network(folder: str | Path, *, dense: bool = True) -> CompactNetwork:
    """Load a compact network from its folder, without running code from it.

    Args:
        folder: What ``compress`` wrote.
        dense: Whether to load the dense twins, too.

    Raises:
        MissingFileError: ``parts.json`` or a part is not there.
        CorruptFileError: One is damaged, or they do not belong together.
        UnsafeFileError: A part asks for code to be run.
    """
    folder = Path(folder)
    if folder.is_file():
        raise UsageError(f"`{folder}` is a file, expected the folder of a compact network")
    manifest = read_network(folder)
    parts = {
        name: load_folder(folder / name) if dense else load(folder / name / MODEL)
        for name in manifest.parts
    }
    twins = {name: part.dense for name, part in parts.items() if part.dense is not None}
    return CompactNetwork(
        module=assembled(manifest, {name: part.module for name, part in parts.items()}, folder),
        dense=assembled(manifest, twins, folder) if dense else None,
        parts=parts,
        manifest=manifest,
    )


def assembled(manifest: NetworkManifest, parts: dict[str, Any], folder: Path) -> nn.Module:
    """Return the network that a manifest and its loaded parts make, in eval mode.

    Raises:
        CorruptFileError: The manifest's settings are none, or a part is missing.
    """
    build = PIPELINES[manifest.processing["kind"]]
    try:
        return build(manifest.processing, parts).eval()
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CorruptFileError(
            f"`{folder / PARTS}` does not make a network: {reason}", hint="compress again"
        ) from error
