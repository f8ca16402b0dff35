"""A bench that was put together elsewhere: which files, under which names, and which ratios."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compactmtl.board.bench.names import short_names
from compactmtl.board.errors import DamagedError, UnsafeError
from compactmtl.board.files import read_json, to_json
from compactmtl.board.stored import INPUTS, Stored, read_inputs, stored_beside

JOB = "bench-job.json"


@dataclass(frozen=True)
class Job:
    """What is to be measured.

    Attributes:
        files: Name to file; the first is the baseline of the ratios.
        also: Pairs of names whose ratio is wanted beside the usual ones.
        left_out: What is not measured, and why.
    """

    files: dict[str, Path]
    also: list[tuple[str, str]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def job_bytes(
    files: Mapping[str, str], also: Sequence[tuple[str, str]], left_out: Mapping[str, str]
) -> bytes:
    """Return a job as it is written.

    Args:
        files: Name to path, relative to the job.
        also: See ``Job``.
        left_out: See ``Job``.
    """
    pairs: list[list[str]] = [list(pair) for pair in also]
    return to_json({"files": dict(files), "also": pairs, "left_out": dict(left_out)})


def read_job(path: Path) -> Job:
    """Read a job.

    Raises:
        AbsentError: There is no such file.
        DamagedError: It is no job.
        UnsafeError: It names a file outside its folder.
    """
    document = read_json(path)
    try:
        files = {str(name): _inside(path, file) for name, file in document["files"].items()}
        also = [(str(one), str(other)) for one, other in document["also"]]
        left_out = {str(name): str(why) for name, why in document["left_out"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"`{path}` is not a job for a bench: {error!r}") from error
    if not files or not {name for pair in also for name in pair} <= files.keys():
        raise DamagedError(f"`{path}` names no files, or pairs of files that it does not name")
    return Job(files, also, left_out)


def job_of(files: Sequence[Path]) -> tuple[Job, Stored | None]:
    """Return what files given on the command line ask for, and the samples beside them.

    Args:
        files: Files to measure, or one job.

    Raises:
        BoardError: The job, or the file of samples, is damaged.
    """
    if len(files) == 1 and files[0].suffix == ".json":
        samples = files[0].with_name(INPUTS)
        return read_job(files[0]), read_inputs(samples) if samples.is_file() else None
    return Job(short_names(files)), stored_beside(files)


def _inside(path: Path, file: Any) -> Path:
    relative = Path(file)
    if relative.is_absolute() or ".." in relative.parts:
        raise UnsafeError(f"`{path}` names the file `{file}` outside its folder")
    return path.parent / relative
