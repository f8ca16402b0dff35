"""Which files `export` writes for a folder, and writing them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from compactmtl.cli.console import Advance, console

if TYPE_CHECKING:
    from compactmtl.export.base import Exporter
    from compactmtl.export.options import Options, Precision
    from compactmtl.export.sidecar import Sidecar
    from compactmtl.export.stored import Stored

    Written = list[tuple[Path, Sidecar]]


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
    """Return the jobs for a folder: the compact model, its dense twin, its variants.

    Of a network in parts: those of each part.
    """
    from compactmtl.export.stored import INPUTS, read_inputs
    from compactmtl.lineage import is_network, read_variants

    if is_network(folder):
        from compactmtl.compact_network import read_network

        places = [folder / part for part in read_network(folder).parts]
        return [
            job for place in places for job in make_jobs(place, exporter, precision, dense=dense)
        ]
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


def write_wholes(folder: Path, target: str, options: "Options", *, dense: bool) -> "Written":
    """Write what makes one artefact of exported parts; nothing where a folder holds one graph.

    Its numpy runs on ONNX files in fp32.
    """
    from compactmtl.lineage import is_network

    if not is_network(folder) or target != "onnx" or options.precision != "fp32":
        return []
    from compactmtl.export.panoptic import write_panoptic

    return [
        write_panoptic(folder, which) for which in ("dense", "compact") if dense or which != "dense"
    ]
