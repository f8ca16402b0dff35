"""Read everything a report shows into one record; what does not belong together is left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compactmtl.errors import CorruptFileError, MissingFileError
from compactmtl.explanation import WHY, read_why
from compactmtl.files import sha256
from compactmtl.lineage import MODEL, PARTS, Artefact, is_network, read_lineage
from compactmtl.report.documents import read_bench, read_document, read_evaluation
from compactmtl.report.runs import RunRecord, find_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is known about one compact model."""

    folder: Path
    model_sha256: str
    compress: Mapping[str, Any]
    """``report.json``, as ``compress`` wrote it."""
    why: Mapping[str, Any] | None
    """``why.json``, where there is one."""
    run: RunRecord | None
    """The run the model was trained in."""
    run_was_named: bool
    """The user named the run folder, so its recipe may import the user's own parts."""
    bench: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None
    """``evaluation.json``, where one scores a file of this folder."""
    artefacts: tuple[Artefact, ...]
    """Exported files that descend from the present models."""
    left_out: tuple[str, ...]
    """One sentence for each file that does not."""

    @property
    def title(self) -> str:
        """The recipe's name, or the name of the file that was compressed."""
        if self.run is not None:
            return self.run.recipe.name
        return Path(str(self.compress["source"].get("file") or self.folder.resolve())).name


def collect(folder: Path, *, run: Path | None = None) -> Record:
    """Read a compact folder and the run it comes from.

    Args:
        folder: What ``compress`` wrote.
        run: The run folder; None looks where ``report.json`` says.

    Raises:
        MissingFileError: There is no ``report.json``, no ``model.pt2``, or no such run.
        CorruptFileError: A file is damaged or of another format version.
    """
    path = folder / "report.json"
    if not path.is_file():
        raise MissingFileError(
            f"`{folder}` holds no report.json, expected a folder that `compactmtl compress` wrote",
            hint="run `compactmtl compress ckpt.pt --prune-zero-channels` first",
        )
    compress = read_document(path, ("source", "before", "after"))
    lineage = read_lineage(folder)
    name = PARTS if is_network(folder) else MODEL
    model = sha256(folder / name)
    described = (compress.get("model") or {}).get("sha256", model)
    if described != model:
        raise CorruptFileError(
            f"`{path}` describes another {name} ({described[:12]}) than the one beside it "
            f"({model[:12]})",
            hint="run `compactmtl compress` again",
        )
    bench, unmeasured = read_bench(folder, lineage.artefacts)
    record, doubts = find_run(folder, compress["source"], run)
    strangers = [f"{name}: {reason}." for name, reason in lineage.strangers.items()]
    return Record(
        folder=folder,
        model_sha256=model,
        compress=compress,
        why=read_why(folder) if (folder / WHY).is_file() else None,
        run=record,
        run_was_named=run is not None,
        bench=bench,
        evaluation=read_evaluation(folder, lineage.artefacts),
        artefacts=lineage.artefacts,
        left_out=(*strangers, *unmeasured, *doubts),
    )
