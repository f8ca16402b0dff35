"""Overparameterise the layers of any network, in place and without changing what it computes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from compactmtl.errors import UsageError
from compactmtl.overparam.branched import BranchedConv, branched_layers, find_norm, insert
from compactmtl.overparam.factored import Factored
from compactmtl.overparam.kernel import KernelFactors, attach, expanded_layers
from compactmtl.overparam.methods import find_method
from compactmtl.overparam.selection import chosen_layers
from compactmtl.patterns import declared_patterns

Fit = Callable[..., KernelFactors]

GROUPED = ("dense", "by_group")
"""What can become of grouped convolutions."""


@dataclass(frozen=True)
class ExpandReport:
    """What ``expand`` did: settings per expanded layer, reasons for those left dense, sizes."""

    method: str
    tasks: tuple[str, ...]
    layers: dict[str, dict[str, Any]]
    left_dense: dict[str, str]
    num_params_before: int
    num_params_after: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {**asdict(self), "tasks": list(self.tasks)}


def expand(
    model: nn.Module,
    *,
    tasks: Sequence[str],
    method: str = "umv",
    layers: str | Sequence[str] | None = None,
    ratio: float | None = None,
    init: str = "spectral",
    grouped: str = "dense",
) -> ExpandReport:
    """Overparameterise conv and linear layers of ``model`` in place.

    With ``init="spectral"`` outputs before and after agree to 1e-5, so that a pretrained network
    can be expanded; ``init="direct"`` draws the new layers as the method's authors do. Build the
    optimiser afterwards, from ``param_groups``.

    Args:
        model: Any network with Conv2d or Linear layers.
        tasks: Names of the tasks, one diagonal each.
        method: A name from ``METHODS``, or ``package.module:Name`` of a ``KernelFactors`` subclass.
        layers: Patterns over layer names, ``!`` before those to leave out, or the papers' rules
            "all_but_final" and "bottleneck_first"; None takes ``model.encoder_layers``.
        ratio: How large the factors are. ``umv``, ``mshare``, ``uvshare``, ``fnl``: rank over full
            rank; ``doconv``: columns of D over places of the kernel; ``expandnet``: channels inside
            over those outside. None: 1, for ``expandnet`` 4.
        init: "spectral" or "direct".
        grouped: What becomes of grouped convolutions: "dense" leaves them and lists them in the
            report; "by_group" gives each group factors of its own, as if it were a convolution
            (``umv``, ``mshare``, ``uvshare``, ``fnl``). Depthwise ones always stay.

    Raises:
        PatternError: A pattern matches no layer.
        UsageError: The network is expanded already, or a setting is out of range.

    Source: Ren & Shi, sections 2.1 and 2.2; Khodak et al. (2021) for the initialisation; for the
    other methods see their files.
    """
    check_tasks(tasks)
    if is_expanded(model):
        raise UsageError(
            f"{type(model).__name__} is expanded already",
            hint="contract(model) first, then expand it anew",
        )
    if grouped not in GROUPED:
        raise UsageError(f"grouped is `{grouped}`, expected one of: {', '.join(GROUPED)}")
    build = find_method(method)
    patterns = declared_patterns(model, layers, "encoder_layers", "layers")
    chosen = chosen_layers(model, patterns)
    before = _num_params(model)
    if issubclass(build, BranchedConv):
        if ratio is not None:
            raise UsageError(f"method `{method}` takes no ratio (got {ratio})")
        made, left_dense = _branch(model, chosen, build, init)
    else:
        made, left_dense = _factor(
            model, chosen, build, tasks, ratio, init, by_group=grouped == "by_group"
        )
    if not made:
        raise UsageError(
            f"method `{method}` fits none of the layers of {list(patterns)}: {_summed(left_dense)}"
        )
    return ExpandReport(
        method=method,
        tasks=tuple(tasks),
        layers=made,
        left_dense=left_dense,
        num_params_before=before,
        num_params_after=_num_params(model),
    )


def _factor(
    model: nn.Module,
    chosen: Mapping[str, nn.Module],
    build: type[KernelFactors],
    tasks: Sequence[str],
    ratio: float | None,
    init: str,
    *,
    by_group: bool,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Put factors in the place of kernels; return settings by layer, and why others stay."""
    left_dense: dict[str, str] = {}
    fitted: dict[str, KernelFactors] = {}
    for name, layer in chosen.items():
        groups, fit = getattr(layer, "groups", 1), cast(Fit, build.fitted)
        if by_group and groups > 1 and issubclass(build, Factored):
            why = _why_not(model, layer) or build.why_not_by_group(layer, tasks)
            fit = partial(build.fitted, groups=groups)
        else:
            why = _why_not(model, layer) or build.why_not(layer, tasks)
        if why is None:
            fitted[name] = fit(kernel_of(layer), tasks, ratio=ratio, init=init)
        else:
            left_dense[name] = why
    for name, factors in fitted.items():  # only now: an error above leaves the network as it was
        attach(chosen[name], factors)
    return {name: factors.settings() for name, factors in fitted.items()}, left_dense


def _branch(
    model: nn.Module, chosen: Mapping[str, nn.Module], build: type[BranchedConv], init: str
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Put branches in the place of convolutions; return settings by layer, and why others stay."""
    fitted: dict[str, BranchedConv] = {}
    left_dense: dict[str, str] = {}
    for name, layer in chosen.items():
        if not isinstance(layer, nn.Conv2d):
            left_dense[name] = "not a convolution"
            continue
        why = _why_not(model, layer) or build.why_not(layer)
        norm = why or find_norm(model, name)
        if isinstance(norm, str):
            left_dense[name] = norm
            continue
        fitted[name] = build.fitted(layer, norm[1], init=init)
        fitted[name].norm_path = norm[0]
    for name, branched in fitted.items():
        insert(model, name, branched)
    return {name: {"norm": branched.norm_path} for name, branched in fitted.items()}, left_dense


def _summed(whys: Mapping[str, str]) -> str:
    """Return each reason once, with the first of its layers and how many more there are."""
    layers: dict[str, list[str]] = {}
    for name, why in whys.items():
        layers.setdefault(why, []).append(name)
    return "; ".join(
        f"`{names[0]}`{f' and {len(names) - 1} more' if names[1:] else ''}: {why}"
        for why, names in layers.items()
    )


def is_expanded(model: nn.Module) -> bool:
    """Tell whether any layer of the network is expanded."""
    return has_factors(model) or any(True for _ in branched_layers(model))


def has_factors(model: nn.Module) -> bool:
    """Tell whether any layer's kernel is made of factors."""
    return any(True for _ in expanded_layers(model))


def _why_not(model: nn.Module, layer: nn.Module) -> str | None:
    if parametrize.is_parametrized(layer, "weight"):
        return "its weight has a parametrisation already"
    weight = layer._parameters.get("weight")
    if weight is None:
        return "its weight is computed by another module"
    for name, module in model.named_modules():
        owned = any(parameter is weight for parameter in module._parameters.values())
        if owned and module is not layer:
            return f"shares its weight with `{name}`"
    return None


def kernel_of(layer: nn.Module) -> Tensor:
    """Return the weight of a layer."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def check_tasks(tasks: Sequence[str]) -> None:
    """Check that tasks have names, each its own.

    Raises:
        UsageError: They do not.
    """
    if isinstance(tasks, str) or not tasks:
        raise UsageError(f"tasks is {tasks!r}, expected a sequence of task names")
    for task in tasks:
        if not isinstance(task, str) or not task or "." in task:
            raise UsageError(f"task name {task!r} must be a non-empty string without dots")
    if len(set(tasks)) != len(tasks):
        raise UsageError(f"a task is named twice in {list(tasks)}")


def _num_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
