"""Write the page."""

from pathlib import Path

from compactmtl.files import write_text
from compactmtl.report.collect import collect
from compactmtl.report.page import render
from compactmtl.report.predictions import predict


def report(
    folder: Path, *, run: Path | None = None, out: Path | None = None, data: Path | None = None
) -> Path:
    """Write one self-contained ``report.html`` for a compact folder.

    What is not there yet (no bench, no run) is a sentence in the page with the command that makes
    it; what does not descend from the present ``model.pt2`` is named and left out.

    Args:
        folder: What ``compress`` wrote, with what ``export`` and ``bench`` added.
        run: The run folder; None takes the one ``report.json`` names. Naming it also lets the
            report import the user's own tasks and data set from its recipe.
        out: The file to write; None is ``report.html`` in ``folder``.
        data: Folder of data packs that takes the place of the recipe's.

    Returns:
        The file written.

    Raises:
        MissingFileError: ``folder`` holds no compact model, or ``run`` is no run folder.
        CorruptFileError: A file is damaged or of another format version.
        UnsafeFileError: ``model.pt2`` holds more than a model.
        WriteError: The page cannot be written.
    """
    record = collect(folder, run=run)
    page = render(record, predict(record, data=data))
    target = out or folder / "report.html"
    write_text(target, page)
    return target
