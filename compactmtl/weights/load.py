"""Find the weights in a safetensors file, a torch file or a Lightning checkpoint."""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeGuard

import torch
from safetensors.torch import load_file
from torch import Tensor

from compactmtl.errors import CorruptFileError, UnsafeFileError, WeightsError
from compactmtl.parts import nearest
from compactmtl.weights.archive import PICKLE, ZIP, check_archive, first_line, read_head

CONTAINERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "params",
    "weights",
)
"""Keys under which training scripts store the weights, in order of preference."""
AVERAGES = ("ema", "model_ema", "params_ema", "ema_state_dict", "state_dict_ema")
"""Keys of averaged weights: taken when asked for, or when there is nothing else."""
_COPY = "it may be truncated: compare its size with the original's, and copy it again"
State: TypeAlias = dict[str, Tensor]


def load_weights(path: str | Path, *, container: str | None = None) -> tuple[State, str]:
    """Read a state dict from a safetensors file, a torch file or a Lightning checkpoint.

    Args:
        path: The file; its kind is found from its content, never from its name.
        container: Key under which the weights stand ("ema", ...); None: found, see ``CONTAINERS``.

    Returns:
        The tensors, on the CPU, and how they were found, in words.

    Raises:
        MissingFileError: No such file.
        CorruptFileError: Truncated, damaged, or another format.
        UnsafeFileError: It asks for code to be run; the hint converts it in three lines.
        WeightsError: It holds no weights, or several and ``container`` does not choose.
    """
    path = Path(path)
    head = read_head(path)
    if len(head) == 9 and head[8:] == b"{":  # a length of eight bytes, then a JSON object
        try:
            return load_file(path, device="cpu"), "safetensors"
        except Exception as error:  # damaged bytes make the parser raise nearly anything
            raise _damaged(path, "an intact safetensors file", error) from error
    return _find_state(load_torch(path), path, container)


def load_torch(path: Path) -> object:
    """Return what ``torch.save`` wrote, made of tensors and plain containers only.

    Raises:
        CorruptFileError: Truncated, damaged, or another format.
        UnsafeFileError: It asks for code to be run; the hint converts it in three lines.
    """
    head = read_head(path)
    if head.startswith(ZIP):
        _check_entries(path, check_archive(path))
    elif not head.startswith(PICKLE):
        raise CorruptFileError(
            f"`{path}` is not a torch or safetensors file (starts with {head[:4]!r})", hint=_COPY
        )
    try:
        with warnings.catch_warnings():  # a plain pickle is read or refused, either way plainly
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise _unsafe(path, f"`{wanted[1]}`") from error
        raise _unsafe(path, "pickled code") from error
    except Exception as error:  # damaged bytes make the parsers raise nearly anything
        raise _damaged(path, "a readable torch or safetensors file", error) from error


def _check_entries(path: Path, names: Sequence[str]) -> None:
    leaves = {name.partition("/")[2] for name in names}
    if "constants.pkl" in leaves:
        raise _unsafe(path, "a TorchScript program")
    if "data.pkl" not in leaves:
        raise CorruptFileError(
            f"`{path}` is a zip archive, but not one that torch.save wrote",
            hint="give a state dict, a safetensors file or a checkpoint",
        )


def _damaged(path: Path, expected: str, error: Exception) -> CorruptFileError:
    return CorruptFileError(
        f"`{path}` is not {expected}: {first_line(error)}",
        hint=_COPY,
    )


def _unsafe(path: Path, wanted: str) -> UnsafeFileError:
    return UnsafeFileError(
        f"`{path}` wants {wanted} to be run while it loads; only tensors are read",
        hint="if you trust it, convert it where it was written:\n"
        + "\n".join(conversion_lines(path)),
    )


def conversion_lines(path: Path) -> tuple[str, str, str]:
    """Return three lines of Python that turn a pickled file into safetensors, for its owner."""
    return (
        "import torch, safetensors.torch as st",
        f"x = torch.load({str(path)!r}, map_location='cpu', weights_only=False); "
        "x = x.get('state_dict', x.get('model', x)) if isinstance(x, dict) else x; "
        "x = x if isinstance(x, dict) else x.state_dict()",
        "st.save_file({k: v.detach().clone().contiguous() for k, v in x.items() "
        f"if isinstance(v, torch.Tensor)}}, {str(path.with_suffix('.safetensors'))!r})",
    )


def _is_state(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _find_state(document: object, path: Path, container: str | None) -> tuple[State, str]:
    if container is None and _is_state(document):
        return dict(document), "state dict"
    if not isinstance(document, Mapping):
        raise WeightsError(
            f"`{path}` holds a {type(document).__name__}, expected a dict of tensors",
            hint="save model.state_dict()",
        )
    found = dict(_containers(document))
    if container is not None:
        if container not in found:
            raise WeightsError(
                f"`{path}` has no weights under `{container}`{nearest(container, found)}",
                hint=f"weights stand under: {', '.join(found) or 'no key'}",
            )
        return found[container], f"container `{container}`"
    if not found:
        odd = next((k for k, v in document.items() if not isinstance(v, Tensor)), None)
        what = f"`{odd}` is a {type(document[odd]).__name__}" if odd is not None else "it is empty"
        raise WeightsError(
            f"`{path}` holds no weights: {what}, expected a dict of tensors",
            hint=f"known containers: {', '.join((*CONTAINERS, *AVERAGES))}",
        )
    chosen = _choose(found, path)
    others = [name for name in found if name != chosen]
    also = f" (also there: {', '.join(others)})" if others else ""
    kind = "Lightning checkpoint, " if "pytorch-lightning_version" in document else ""
    return found[chosen], f"{kind}container `{chosen}`{also}"


def _containers(document: Mapping[str, object], depth: int = 2) -> Iterator[tuple[str, State]]:
    """Yield every dict of tensors below ``document`` with its dotted place."""
    for key, value in document.items():
        if str(key).startswith("optim"):
            continue  # tensors of an optimiser are no weights
        if _is_state(value):
            yield str(key), dict(value)
        elif isinstance(value, Mapping) and depth > 0:
            yield from ((f"{key}.{name}", state) for name, state in _containers(value, depth - 1))


def _choose(found: Mapping[str, State], path: Path) -> str:
    for known in (CONTAINERS, AVERAGES):
        for key in known:
            places = [
                name for name in found if name.split(".")[-1] == key or name.split(".")[0] == key
            ]
            if places:
                return min(places, key=lambda name: (name.count("."), len(name)))
    if len(found) == 1:
        return next(iter(found))
    raise WeightsError(
        f"`{path}` holds several sets of weights: {', '.join(found)}",
        hint="say which: container=...",
    )
