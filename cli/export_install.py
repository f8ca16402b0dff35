"""What `export --install` does: the converter of a target, in an environment of its own."""

from pathlib import Path
from typing import TYPE_CHECKING

from compactmtl.cli.console import console
from compactmtl.errors import UsageError

if TYPE_CHECKING:
    from compactmtl.export.base import Exporter


def install_converter(exporter: "Exporter", folder: Path | None) -> None:
    """Install it unless it is there, and say where it lies.

    Args:
        exporter: The target.
        folder: What is exported afterwards; looked at first, because installing takes minutes.

    Raises:
        UsageError: The target has no environment of its own.
        MissingFileError: The folder holds no model.
    """
    from compactmtl.export.worker_target import WorkerExporter

    if not isinstance(exporter, WorkerExporter):
        way = f'pip install "compactmtl[{exporter.extra}]"' if exporter.extra else "nothing"
        raise UsageError(
            f"target `{exporter.target}` has no environment of its own", hint=f"it needs: {way}"
        )
    if folder is not None:
        from compactmtl.lineage import model_path

        model_path(folder)
    environment = exporter.environment
    if environment.is_complete:
        console.info(f"the converter of `{exporter.target}` is installed in {environment.folder}")
        return
    console.info(
        f"installing {', '.join(environment.packages)} (about {environment.gigabytes:g} GB, "
        f"{environment.minutes} minutes) in {environment.folder}"
    )
    environment.install()
