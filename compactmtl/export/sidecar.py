"""The JSON file beside every exported artefact: what it is, what it came from, what was checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from compactmtl.errors import CorruptFileError
from compactmtl.export.options import Dialect, Precision
from compactmtl.files import read_json, write_json
from compactmtl.lineage import sidecar_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compactmtl.export.stored import Array

FORMAT_VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parent(_Strict):
    """The file an artefact was made from; ``sha256`` is None for a model that was never saved."""

    file: str
    sha256: str | None


class InputSpec(_Strict):
    """One input. ``shape`` holds text (``batch``, ``height``, ``width``) for dynamic dimensions."""

    name: str
    shape: list[int | str]
    dtype: str
    layout: Literal["NCHW"] | None = None
    """Set for images only."""
    range: tuple[float, float] | None = None
    """Range of the values it was checked with, where that is [0, 1]."""
    mean: list[float] | None = None
    """Per channel: an 8-bit pixel p becomes (p - mean) * scale. None where that is not known."""
    scale: list[float] | None = None

    @classmethod
    def of(
        cls, name: str, shape: "Sequence[int | str]", dtype: str, samples: "Array"
    ) -> "InputSpec":
        """Describe an input by the samples (N, ...) that the artefact is checked with."""
        is_image = samples.ndim == 4
        is_unit = bool(samples.min() >= 0 and samples.max() <= 1)
        channels = samples.shape[1] if is_image and is_unit else None
        return cls(
            name=name,
            shape=list(shape),
            dtype=dtype,
            layout="NCHW" if is_image else None,
            range=(0.0, 1.0) if is_unit else None,
            mean=None if channels is None else [0.0] * channels,
            scale=None if channels is None else [1 / 255] * channels,
        )


class OutputSpec(_Strict):
    """One output, named after its task."""

    name: str
    shape: list[int | str]
    dtype: str
    task: dict[str, Any] | None = None
    """What rebuilds the task (kind, channels, classes, ...); None for an output that is no task."""


class MetricChange(_Strict):
    """A task's own metric in FP32 and in the lower precision, on the same labelled images."""

    name: str
    higher_is_better: bool
    fp32: float
    lower: float
    change: float
    """``lower - fp32``, in the metric's own unit."""


class TaskParity(_Strict):
    """How far a runtime's output is from torch in fp64.

    Of an output of integers, both errors are the share of positions that differ.
    """

    max_rel_error: float
    """Largest deviation, relative to the largest magnitude."""
    rel_rms: float
    """Root of the squared deviations' sum, relative to that of the squared outputs."""
    bound: float | None = None
    """Of ``max_rel_error``; None in lower precision, where no bound can be known beforehand."""
    torch_fp32_error: float | None = None
    metric: MetricChange | None = None
    """In lower precision, where there are labelled images."""


class Samples(_Strict):
    """Samples that had a part in an artefact: where they come from, and how many they are."""

    source: str
    num: int


class KeptLayer(_Strict):
    """A layer that a search kept in FP32."""

    name: str
    costs: dict[str, float | None]
    """Each task's relative RMS where this layer alone is lower; None where it overflows."""


class Budget(_Strict):
    """How much a task's error might grow, by what measure, and how much it grew."""

    limit: float
    measure: str
    """``metric NAME``, the growth of its error; or ``relative RMS`` where there are no labels."""
    reached: float


class Lowering(_Strict):
    """How an artefact came to its lower precision."""

    method: str
    num_layers: int
    """Layers that the method can lower; those of ``kept`` are not."""
    calibration: Samples | None = None
    scored_on: Samples | None = None
    """The labelled images behind ``metric``."""
    not_scored: str | None = None
    """Why there are none."""
    kept: list[KeptLayer] = []
    budgets: dict[str, Budget] = {}


class Verified(_Strict):
    """What was checked: ``ran`` in its runtime here, or built and not run, or not even built."""

    status: Literal["ran", "built only", "prepared"]
    runtime: str
    per_task: dict[str, TaskParity]
    cases: list[dict[str, Any]]
    """The inputs it was checked on: shapes and where they come from."""
    selections: dict[str, Any] | None = None
    """Pool indices and argmax: how many, how many flipped, the largest gap between the tied."""


class Simplified(_Strict):
    """What a simplifier made of an ONNX file: numbers before and after."""

    tool: str
    nodes: tuple[int, int]
    size_bytes: tuple[int, int]
    not_kept: str | None = None
    """Why its result was thrown away; None: it is the artefact."""


class Sidecar(_Strict):
    """Format version 1 of the sidecar."""

    format_version: Literal[1] = 1
    artefact: str
    kind: str
    """The target it was written for."""
    operators: Dialect | None = None
    """Whose operators an ONNX file holds."""
    precision: Precision = "fp32"
    lowering: Lowering | None = None
    """How it came to a precision other than fp32."""
    simplified: Simplified | None = None
    """Set where simplification was asked for."""
    which: Literal["compact", "dense"]
    sha256: str
    size_bytes: int
    parts: dict[str, str] = {}
    """Further files that belong to the artefact, each with its SHA-256."""
    parent: Parent
    opset: int | None
    inputs: list[InputSpec]
    outputs: list[OutputSpec]
    build: dict[str, Any] | None = None
    """How an engine was built: builder, compute capabilities, profile, flags, seconds."""
    verified: Verified
    versions: dict[str, str | None]


def write_sidecar(artefact: Path, sidecar: Sidecar) -> Path:
    """Write the sidecar of an artefact beside it and return its path."""
    path = sidecar_path(artefact)
    write_json(path, sidecar.model_dump(mode="json"))
    return path


def read_sidecar(artefact: Path) -> Sidecar:
    """Read the sidecar of an artefact.

    Raises:
        MissingFileError: There is none.
        CorruptFileError: It is damaged, or of another format version.
    """
    path = sidecar_path(artefact)
    document = read_json(path)
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise CorruptFileError(
            f"`{path}` has format version {version}, expected {FORMAT_VERSION}",
            hint="export again with this version of compactmtl",
        )
    try:
        return Sidecar.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CorruptFileError(f"`{path}` is not a sidecar: `{place}`: {first['msg']}") from error
