"""Which files `export` writes for a folder, and with which samples they are checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from compactmtl.export.base import Exporter
    from compactmtl.export.options import Precision
    from compactmtl.export.stored import Arrays


class Job(NamedTuple):
    """One file to write.

    Attributes:
        source: Folder that holds the model.
        path: Where the artefact goes.
        which: The compact model, or its dense twin.
        samples: What it is checked with; None: what lies in its own folder.
    """

    source: Path
    path: Path
    which: Literal["compact", "dense"]
    samples: "Arrays | None"


def make_jobs(
    folder: Path, exporter: "Exporter", precision: "Precision", *, dense: bool
) -> list[Job]:
    """Return the jobs for a folder: the compact model, its dense twin, its variants."""
    from compactmtl.export.stored import INPUTS, read_inputs
    from compactmtl.lineage import read_variants

    name = exporter.file_name("compact", precision)
    jobs = [Job(folder, folder / name, "compact", None)]
    if dense:
        jobs.append(Job(folder, folder / exporter.file_name("dense", precision), "dense", None))
    samples = read_inputs(folder / INPUTS).arrays if (folder / INPUTS).is_file() else None
    variants = read_variants(folder)[0].values()
    return jobs + [Job(each, each / name, "compact", samples) for each in variants]
