"""Fit weights to a network: names, shapes, dtypes and finite values, all or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compactmtl.errors import NonFiniteError, WeightsError
from compactmtl.parts import nearest
from compactmtl.weights.prefixes import best_prefixes, renaming


@dataclass(frozen=True)
class FitReport:
    """How weights were fitted to a network."""

    source: str
    num_matched: int
    stripped: str
    """Prefix taken off the file's names, with its dot."""
    added: str
    """Prefix put before the file's names, with its dot."""
    unwrapped: bool
    """Whether names of wrappers (DDP, torch.compile, ...) inside the names were taken out."""
    missing: tuple[str, ...]
    """Weights of the network that the file lacks (empty if strict)."""
    unexpected: tuple[str, ...]
    """Weights of the file that the network lacks (empty if strict)."""
    tolerated: tuple[str, ...]
    """Absent without harm: ``num_batches_tracked``, and second names of tied weights."""
    cast: tuple[str, ...]
    """Weights whose floating dtype was changed to the network's."""

    def summary(self) -> str:
        """Return one line for a log."""
        parts = [f"{self.num_matched} weights from {self.source}"]
        for text, value in (
            (f"prefix `{self.stripped}` removed", self.stripped),
            (f"prefix `{self.added}` added", self.added),
            ("wrapper names removed", self.unwrapped),
            (f"{len(self.missing)} missing", self.missing),
            (f"{len(self.unexpected)} unused", self.unexpected),
            (f"{len(self.tolerated)} absent without harm", self.tolerated),
            (f"{len(self.cast)} cast", self.cast),
        ):
            if value:
                parts.append(text)
        return ", ".join(parts)


def fit_weights(
    model: nn.Module, state: Mapping[str, Tensor], *, source: str, strict: bool = True
) -> FitReport:
    """Load ``state`` into ``model``, finding the prefix that fits; all or nothing.

    Args:
        model: The network, changed in place.
        state: Names and tensors, as ``load_weights`` returns them.
        source: Name of the file, for messages.
        strict: Whether missing and unexpected weights are errors. A wrong shape always is.

    Raises:
        WeightsError: Names or shapes do not fit; the message has the nearest name.
        NonFiniteError: A weight is NaN or Inf.
    """
    target = model.state_dict()
    stripped, added, unwrapped = best_prefixes(state, target)
    rename = renaming(stripped, added, unwrapped)
    renamed = {rename(name): tensor for name, tensor in state.items()}
    if len(renamed) != len(state):
        raise WeightsError(f"{source}: two weights have one name once `{stripped}` is removed")
    matched = [name for name in renamed if name in target]
    missing = [name for name in target if name not in renamed]
    unexpected = [name for name in renamed if name not in target]
    present = {(target[name].data_ptr(), target[name].shape) for name in matched}
    tolerated = [
        name
        for name in missing
        if name.endswith("num_batches_tracked")
        or (target[name].data_ptr(), target[name].shape) in present
    ]
    missing = [name for name in missing if name not in set(tolerated)]
    if not matched or (strict and (missing or unexpected)):
        raise _misfit(source, target, missing, unexpected)
    cast = [name for name in matched if _check_tensor(name, renamed[name], target[name], source)]
    model.load_state_dict({name: renamed[name] for name in matched}, strict=False)
    return FitReport(
        source,
        len(matched),
        stripped,
        added,
        unwrapped,
        *map(tuple, (missing, unexpected, tolerated, cast)),
    )


def explain_misfit(
    state: Mapping[str, Tensor], target: Mapping[str, Tensor], *, source: str, network: str
) -> WeightsError:
    """Return an error that names what is missing, unexpected or of another shape."""
    missing = [name for name in target if name not in state]
    unexpected = [name for name in state if name not in target]
    if missing or unexpected:
        return _misfit(source, target, missing, unexpected, network=f"`{network}`")
    for name, tensor in state.items():
        if tensor.shape != target[name].shape:
            return _wrong_shape(name, tensor, target[name], source)
    return WeightsError(f"{source} does not fit `{network}`")


def _wrong_shape(name: str, got: Tensor, expected: Tensor, source: str) -> WeightsError:
    return WeightsError(
        f"{source}: `{name}` has shape {tuple(got.shape)}, "
        f"the network expects {tuple(expected.shape)}",
        hint="were the weights trained with other tasks, widths or numbers of classes?",
    )


def _check_tensor(name: str, got: Tensor, expected: Tensor, source: str) -> bool:
    """Raise where a tensor does not fit; tell whether it will be cast."""
    if got.shape != expected.shape:
        raise _wrong_shape(name, got, expected, source)
    if got.is_meta or got.layout != torch.strided or got.is_quantized:
        raise WeightsError(
            f"{source}: `{name}` is not a plain tensor with data ({got.layout}, {got.device})"
        )
    if got.dtype == expected.dtype:
        return _check_finite(name, got, source)
    if not (got.is_floating_point() and expected.is_floating_point()):
        raise WeightsError(
            f"{source}: `{name}` is {got.dtype}, the network expects {expected.dtype}"
        )
    _check_finite(name, got.to(expected.dtype), source)
    return True


def _check_finite(name: str, tensor: Tensor, source: str) -> bool:
    if tensor.is_floating_point():
        num_bad = int((~torch.isfinite(tensor)).sum())
        if num_bad:
            raise NonFiniteError(
                f"{source}: `{name}` has {num_bad} NaN or Inf among {tensor.numel()} values",
                hint="take an earlier checkpoint",
            )
    return False


def _misfit(
    source: str,
    target: Mapping[str, Tensor],
    missing: list[str],
    unexpected: list[str],
    network: str = "the network",
) -> WeightsError:
    parts = []
    if missing:
        shown = _some(missing, unexpected)
        parts.append(f"missing {len(missing)} of the network's {len(target)} weights ({shown})")
    if unexpected:
        parts.append(f"unexpected {len(unexpected)} ({_some(unexpected, missing)})")
    hint = "is this the network, with the tasks and arguments, that the weights were trained with?"
    if any(".parametrizations." in name for name in unexpected):
        hint = "the file's layers are still expanded: contract first (cm.contracted_state_dict)"
    return WeightsError(f"{source} does not fit {network}: {'; '.join(parts)}", hint=hint)


def _some(names: list[str], others: list[str]) -> str:
    shown = ", ".join(f"`{name}`{nearest(name, others)}" for name in names[:3])
    return shown + (", ..." if len(names) > 3 else "")
