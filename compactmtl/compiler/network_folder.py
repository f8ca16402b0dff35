"""Write the folder of a compact network in parts: all of it, or nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from compactmtl.compact_network import CompactNetwork
from compactmtl.compiler.call import Inputs
from compactmtl.compiler.folder import FORMAT_VERSION, fill, write_inputs, write_whole
from compactmtl.compiler.network_report import as_one
from compactmtl.compiler.part import inputs_of_part
from compactmtl.environment import environment
from compactmtl.files import make_folder, sha256, write_json
from compactmtl.lineage import PARTS

MOST_ROIS = 64
"""How many of its inputs are stored with a part that computes many for one image."""


def write_network(
    compact: CompactNetwork,
    folder: Path,
    *,
    images: Sequence[Tensor],
    origin: str,
    run: str = "",
) -> dict[str, Any]:
    """Write ``parts.json``, ``report.json``, images, and a compact folder for each part.

    What lies there is moved to ``<folder>.previous``, artefacts and all.

    Args:
        compact: What to write, as ``compress`` made it.
        folder: Where to.
        images: Images for export, bench and report to share.
        origin: Where they come from, in words.
        run: Path of the run folder it comes from, relative to ``folder``.

    Returns:
        The content of ``report.json``.

    Raises:
        UsageError: The folder holds something else than a compact model.
        WriteError: The folder is not writable, or the disk is full; what was there is unchanged.
    """

    def fill_new(new: Path) -> dict[str, Any]:
        for name, part in compact.parts.items():
            samples = _samples(compact, part.manifest.part, images)
            fill(part, make_folder(new / name), samples, origin, run, {})
        compact.write_manifest(new)
        write_inputs([compact.manifest.image], new / "inputs.npz", images, origin)
        assert compact.report is not None
        document = {
            "format_version": FORMAT_VERSION,
            "source": {**compact.manifest.parent, "run": run},
            "model": {"file": PARTS, "sha256": sha256(new / PARTS)},
            "tasks": compact.manifest.tasks,
            **as_one(compact.report),
            **compact.report.to_dict(),
            "environment": environment(),
        }
        write_json(new / "report.json", document)
        return document

    return write_whole(folder, fill_new, is_update=False)


def _samples(compact: CompactNetwork, part: str, images: Sequence[Tensor]) -> list[Tensor | Inputs]:
    """Return what a part receives for the images, all in one call where it is one per image."""
    given = list(images) or list(compact.example_inputs())
    calls = [values for values in inputs_of_part(compact.module, part, given) if len(values[0])]
    if all(len(values[0]) == 1 for values in calls):
        return list(calls)
    return [tuple(value[:MOST_ROIS] for value in values) for values in calls[:1]]
