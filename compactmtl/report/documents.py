"""The JSON documents of a compact folder, checked for their format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compactmtl.bench.candidates import MODELS
from compactmtl.bench.record import RECORD, read_record
from compactmtl.errors import CorruptFileError
from compactmtl.evaluation.record import RECORD as EVALUATION
from compactmtl.files import read_json, sha256
from compactmtl.lineage import Artefact, read_lineage, read_variants

FORMAT_VERSIONS = (1,)


def read_document(path: Path, tables: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON object that carries a format version and holds these tables.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is not JSON, of a version this program does not read, or lacks a table.
    """
    document = read_json(path)
    version = document.get("format_version") if isinstance(document, dict) else None
    if version not in FORMAT_VERSIONS:
        raise CorruptFileError(
            f"`{path}` has format_version {version!r}, expected one of {FORMAT_VERSIONS}",
            hint="write it again with this version of compactmtl",
        )
    for key in tables:
        if not isinstance(document.get(key), dict):
            raise CorruptFileError(
                f"`{path}` has no table `{key}`",
                hint="write it again with this version of compactmtl",
            )
    return dict(document)


def read_bench(
    folder: Path, artefacts: Sequence[Artefact]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return ``bench.json`` if every file it measured is one of ``artefacts``; else say why not.

    Variants and what was exported from them count, too.

    Raises:
        CorruptFileError: The file is damaged or of another format version.
    """
    path = folder / RECORD
    if not path.is_file():
        return None, []
    document = read_record(path).model_dump(mode="json")
    present = {artefact.sha256 for artefact in artefacts}
    present |= {sha256(folder / name) for name in MODELS.values() if (folder / name).is_file()}
    for place in read_variants(folder)[0].values():
        present |= {artefact.sha256 for artefact in read_lineage(place).artefacts}
    for name, candidate in document["candidates"].items():
        if candidate.get("sha256") not in present:
            return None, [
                f"{RECORD}: its candidate {name} ({candidate.get('file')}) was another file than "
                "those that descend from the present model."
            ]
    return document, []


def read_evaluation(folder: Path, artefacts: Sequence[Artefact]) -> dict[str, Any] | None:
    """Return the ``evaluation.json`` that scores any of these files, None where there is none.

    It is looked for in the folder and where ``compactmtl evaluate`` writes it beside the folder.

    Raises:
        CorruptFileError: The file is damaged or of another format version.
    """
    present = {artefact.sha256 for artefact in artefacts}
    for path in (folder / EVALUATION, folder.resolve().parent / "evaluation" / EVALUATION):
        if not path.is_file():
            continue
        document = read_document(path, ("subjects", "metrics"))
        subjects = document["subjects"].values()
        if not all(isinstance(each, dict) and "sha256" in each for each in subjects):
            raise CorruptFileError(
                f"`{path}`: a subject has no sha256", hint="run `compactmtl evaluate` again"
            )
        if present & {each["sha256"] for each in subjects}:
            return document
    return None
