"""The record of a bench: ``bench.json``, format version 1."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from compactmtl.errors import CorruptFileError
from compactmtl.files import read_json, write_json

FORMAT_VERSION = 1
RECORD = "bench.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Latency(_Strict):
    """Wall time per call in ms."""

    p50: float
    p90: float
    p99: float
    mean: float
    min: float
    std: float
    n: int


class CpuTime(_Strict):
    """CPU time of the whole process per call in ms, all threads together."""

    p50: float
    min: float


class Candidate(_Strict):
    """One measured artefact."""

    file: str
    sha256: str
    parts: dict[str, str] = {}
    """Further files that belong to it, each with its SHA-256."""
    runtime: str
    size_bytes: int
    macs: int
    num_params: int
    uncounted: list[str]
    """Operations that hold MACs which are not in ``macs``; normally none."""
    load_ms: float
    first_ms: float
    """Wall time of the first call after loading."""
    latency_ms: Latency
    cpu_ms: CpuTime


class RatioRecord(_Strict):
    """Ratios of medians, with 95 % confidence intervals."""

    cpu: float
    cpu_interval: tuple[float, float]
    wall: float
    wall_interval: tuple[float, float]


class Settings(_Strict):
    """How it was measured."""

    device: str
    threads: int
    batch: int
    shapes: dict[str, list[int]]
    """Input name to shape."""
    inputs: str
    """Where the inputs come from."""
    seconds: float
    rounds: int
    """Least seconds and rounds asked for; ``n`` of a candidate says what was done."""


class BenchRecord(_Strict):
    """Everything a bench found.

    Attributes:
        ratios: ``a/b`` to how much longer a takes than b.
        verdict: ``noisy`` where the figures are not to be trusted.
        why: The reasons; empty where the verdict is ``ok``.
        left_out: Files in the folder that were not measured, and why.
        variants: Candidates that are the compact model by another plan.
        load_average: Of the machine, after the measurement; before it: in ``environment``.
        peak_rss_mib: Largest memory of the process so far, all candidates together.
    """

    format_version: Literal[1] = 1
    environment: dict[str, Any]
    settings: Settings
    candidates: dict[str, Candidate]
    ratios: dict[str, RatioRecord]
    verdict: Literal["ok", "noisy"]
    why: list[str]
    left_out: dict[str, str]
    variants: list[str] = []
    load_average: float | None
    peak_rss_mib: float | None


def write_record(path: Path, record: BenchRecord) -> None:
    """Write a record atomically."""
    write_json(path, record.model_dump(mode="json"))


def read_record(path: Path) -> BenchRecord:
    """Read a record.

    Raises:
        MissingFileError: There is no such file.
        CorruptFileError: It is no record, or one of another format version.
    """
    document = read_json(path)
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise CorruptFileError(
            f"`{path}` has format version {version}, expected {FORMAT_VERSION}",
            hint="run `compactmtl bench` again with this version of compactmtl",
        )
    try:
        return BenchRecord.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(
            f"`{path}` is not a bench record: `{place}`: {first['msg']}"
        ) from error
