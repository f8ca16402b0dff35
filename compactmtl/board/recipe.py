"""How an engine is to be built: what a user asks of the builder, as data that travels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from compactmtl.board.bindings import NAMES
from compactmtl.board.errors import AskedError, DamagedError

Batch = tuple[int, int, int]
"""Smallest, usual and largest batch size."""
Size = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Smallest, usual and largest image: height and width in pixels."""
WORKSPACE_BYTES = 2**30
"""What kernels may use beside the tensors; TensorRT-RTX's own limit is 64 GiB."""
TAKEN = {
    "tensorrt": frozenset(
        {
            *("batch", "size", "workspace_bytes", "version_compatible", "hardware_compatible"),
            "weak_typing",
        }
    ),
    "rtx": frozenset({"batch", "size", "workspace_bytes", "compute_capabilities"}),
}
"""By flavour, the fields that its builder honours. TensorRT builds for the GPU that it runs on;
TensorRT-RTX has no lean runtime, ignores the hardware compatibility level, and is strongly typed.
"""


@dataclass(frozen=True)
class BuildRecipe:
    """Settings of one build.

    Attributes:
        batch: Batch sizes of the optimisation profile; None: 1 to that of the stored samples.
        size: Image sizes of the profile; None: that of the stored samples alone.
        workspace_bytes: Limit of the workspace.
        compute_capabilities: GPUs to build for, as in ``8.9``; empty: Ampere and later.
        version_compatible: Let later versions of TensorRT run the engine, too.
        hardware_compatible: Let other GPUs from Ampere on run it, too.
        weak_typing: For TensorRT before 10.12: let the builder choose ``fp16`` or ``int8`` kernels.
    """

    batch: Batch | None = None
    size: Size | None = None
    workspace_bytes: int = WORKSPACE_BYTES
    compute_capabilities: tuple[str, ...] = ()
    version_compatible: bool = False
    hardware_compatible: bool = False
    weak_typing: str | None = None

    def check_taken(self, flavour: str) -> None:
        """Refuse a setting that the flavour's builder does not honour.

        Raises:
            AskedError: There is one; a setting is never dropped silently.
        """
        default = BuildRecipe()
        for each in fields(self):
            if each.name not in TAKEN[flavour] and getattr(self, each.name) != getattr(
                default, each.name
            ):
                taken = ", ".join(sorted(TAKEN[flavour]))
                raise AskedError(
                    f"{NAMES[flavour]} takes no `{each.name}`", hint=f"it takes: {taken}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON data."""
        return asdict(self)


def from_dict(document: Mapping[str, Any], where: str) -> BuildRecipe:
    """Return the settings in JSON data.

    Args:
        document: What ``BuildRecipe.to_dict`` returned.
        where: What it was read from, for the error.

    Raises:
        DamagedError: It has an unknown key, or a value of another type.
    """
    names = {each.name for each in fields(BuildRecipe)}
    unknown = sorted(document.keys() - names)
    if unknown:
        raise DamagedError(f"`{where}` has an unknown setting `{unknown[0]}`")
    made = {name: _tuples(value) for name, value in document.items()}
    checks = {
        "batch": lambda v: v is None or _are_sizes(v),
        "size": lambda v: v is None or (len(v) == 3 and all(_are_sizes((*s, 1)) for s in v)),
        "workspace_bytes": lambda v: type(v) is int and v > 0,
        "compute_capabilities": lambda v: all(isinstance(each, str) for each in v),
        "version_compatible": lambda v: isinstance(v, bool),
        "hardware_compatible": lambda v: isinstance(v, bool),
        "weak_typing": lambda v: v in (None, "fp16", "int8"),
    }
    for name, value in made.items():
        try:
            is_right = checks[name](value)
        except TypeError:  # no sequence where one is expected
            is_right = False
        if not is_right:
            raise DamagedError(f"`{where}`: `{name}` (={document[name]!r}) is no valid setting")
    return BuildRecipe(**made)


def _are_sizes(values: tuple[Any, ...]) -> bool:
    return len(values) == 3 and all(type(value) is int and value > 0 for value in values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
