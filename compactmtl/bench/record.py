"""The record of a bench: ``bench.json``, format version 2."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from compactmtl.bench.complexity import LayerCost
from compactmtl.bench.limits import Rooflines
from compactmtl.board.bench.document import FORMAT_VERSION
from compactmtl.board.bench.paced_run import PacedSection
from compactmtl.errors import CorruptFileError
from compactmtl.files import read_json, write_json

RECORD = "bench.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(_Strict):
    """Percentiles and moments of the times of one call in ms; ``std`` is that of the sample."""

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    min: float
    std: float
    n: int


class InputRecord(_Strict):
    """One input as it was fed."""

    shape: list[int]
    dtype: str


class Warmup(_Strict):
    """Calls before the first that was recorded, and the seconds of all candidates' together."""

    calls: int
    seconds: float


class ThroughputRecord(_Strict):
    """What back-to-back calls gave: one caller, no overlap, apart from the timing in turns."""

    calls: int
    seconds: float
    calls_per_s: float
    samples_per_s: float
    """Calls times batch size."""


class Candidate(_Strict):
    """One measured artefact."""

    file: str
    sha256: str
    parts: dict[str, str] = {}
    """Further files that belong to it, each with its SHA-256."""
    size_bytes: int
    runtime: str
    device: str
    """Where it computed: ``cpu`` or ``cuda``."""
    includes: str
    """What a timed call does beside computing."""
    inputs: dict[str, InputRecord]
    macs: int | None = None
    flops: int | None = None
    """Twice the MACs."""
    num_params: int | None = None
    weights_bytes: int | None = None
    peak_activation_bytes: int | None = None
    """See ``compactmtl.bench.graph.peak_activation_bytes``."""
    layers: list[LayerCost] = []
    uncounted: list[str] = []
    """Operations that hold MACs which are not in ``macs``; normally none."""
    why_not_counted: str = ""
    """Why ``macs`` is unknown."""
    parts_ms: dict[str, float] = {}
    """Of a network in parts: median CPU time of each part in a call, and of what is between."""
    load_ms: float
    first_ms: float
    """Wall time of the first call after the first loading."""
    loads: int = 1
    """How often it was loaded anew for the timing in turns."""
    warmup: Warmup
    latency_ms: Spread
    """Wall time per call."""
    cpu_ms: Spread
    """CPU time of the whole process per call, all threads together."""
    device_ms: Spread | None = None
    """Time on the accelerator by its own clock, copies not included; None: not measured."""
    throughput: ThroughputRecord
    added_rss_mib: float | None
    """Memory that loading and the first call added at their peak; None: unknown."""
    times_ms: dict[str, list[float]]
    """Clock (``wall``, ``cpu``, ``device``) to times, one per round; same round, same place."""
    times_every: int
    """Every so many-th round is in ``times_ms``; 1: all of them."""


class RatioRecord(_Strict):
    """Ratios of times of the same rounds, with 95 % confidence intervals."""

    clock: Literal["cpu", "wall"]
    """The clock that judges."""
    verdict: Literal["ok", "inconclusive"]
    """``inconclusive``: the interval of that clock holds 1.00, no difference was shown."""
    cpu: float
    cpu_interval: tuple[float, float]
    wall: float
    wall_interval: tuple[float, float]

    @property
    def value(self) -> float:
        """The ratio by the clock that judges."""
        return self.cpu if self.clock == "cpu" else self.wall

    @property
    def interval(self) -> tuple[float, float]:
        """Its interval."""
        return self.cpu_interval if self.clock == "cpu" else self.wall_interval


class Comparison(_Strict):
    """A candidate beside the one of the same name in an earlier record."""

    clock: Literal["cpu", "wall"]
    ratio: float
    """Time now over time then."""
    interval: tuple[float, float]
    is_other_file: bool
    verdict: Literal["ok", "inconclusive", "regression"]
    """``inconclusive``: beyond the limit, but its interval is not."""


class Settings(_Strict):
    """How it was measured."""

    device: str
    threads: int
    batch: int
    shapes: dict[str, list[int]]
    """Input name to shape, of the first candidate."""
    inputs: str
    """Where the inputs come from."""
    seconds: float
    rounds: int
    """Least seconds and rounds asked for; ``n`` of a candidate says what was done."""


class LoadAverage(_Strict):
    """Mean number of runnable processes of the machine; None: unknown."""

    before: float | None
    after: float | None


class BenchRecord(_Strict):
    """Everything a bench found.

    Attributes:
        environment: Machine and software.
        ratios: ``a/b`` to how much longer a takes than b.
        verdict: ``noisy`` where the figures are not to be trusted.
        why: The reasons; empty where the verdict is ``ok``.
        left_out: Files in the folder that were not measured, and why.
        variants: Candidates that are the compact model by another plan.
        peak_rss_mib: Largest memory of the process so far, all candidates together.
        baseline: Candidates beside those of an earlier record, where one was given.
        paced: A run at a camera's pace; None: not asked for.
        device: What was read of the device meanwhile: power, clocks, temperatures.
        roofline: Where the time of each candidate goes; None: not asked for.
    """

    format_version: Literal[2] = 2
    environment: dict[str, Any]
    settings: Settings
    candidates: dict[str, Candidate]
    ratios: dict[str, RatioRecord]
    verdict: Literal["ok", "noisy"]
    why: list[str]
    left_out: dict[str, str]
    variants: list[str] = []
    load_average: LoadAverage
    peak_rss_mib: float | None
    baseline: dict[str, Comparison] = {}
    device: dict[str, Any] = {}
    roofline: Rooflines | None = None
    paced: PacedSection | None = None


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
    return parse_record(document, f"`{path}`")


def parse_record(document: Any, where: str) -> BenchRecord:
    """Check a record, such as one that a board sent.

    Args:
        document: JSON data.
        where: How an error calls it.

    Raises:
        CorruptFileError: It is no record.
    """
    try:
        return BenchRecord.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(
            f"{where} is not a bench record: `{place}`: {first['msg']}"
        ) from error
