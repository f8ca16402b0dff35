"""Which files `export` writes for a folder, and writing them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from compactmtl.cli.console import Advance, console

if TYPE_CHECKING:
    from compactmtl.export.base import Exporter
    from compactmtl.export.options import Options, Precision
    from compactmtl.export.sidecar import Sidecar
    from compactmtl.export.stored import Stored


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
    samples: "Stored | None"


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
    samples = read_inputs(folder / INPUTS) if (folder / INPUTS).is_file() else None
    variants = read_variants(folder)[0].values()
    return jobs + [Job(each, each / name, "compact", samples) for each in variants]


def write_jobs(
    jobs: list[Job], folder: Path, target: str, options: "Options"
) -> "list[tuple[Path, Sidecar]]":
    """Write the files and return each with its sidecar, under two bars: files, and a search."""
    from compactmtl.export import export

    written = []
    with console.progress("export", len(jobs)) as advance:
        for job in jobs:
            with console.progress("search for layers to keep", None) as searched:
                done = 0

                def progress(now: int, total: int, searched: Advance = searched) -> None:
                    nonlocal done
                    searched(now - done, total=total)
                    done = now

                sidecar = export(
                    job.source,
                    job.path,
                    target=target,
                    which=job.which,
                    options=options,
                    inputs=job.samples,
                    progress=progress,
                )
            advance(note=job.path.relative_to(folder).as_posix())
            written.append((job.path, sidecar))
    return written
