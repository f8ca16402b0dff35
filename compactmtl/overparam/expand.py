"""Overparameterise the layers of any network, in place and without changing what it computes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from compactmtl.errors import CorruptFileError, PartError, RefusedError, UsageError
from compactmtl.overparam.kernel import LAYER_TYPES, KernelFactors, attach, expanded_layers
from compactmtl.overparam.methods import METHODS
from compactmtl.parts import find_part
from compactmtl.patterns import declared_patterns, matching_layers


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
    rank_ratio: float = 1.0,
    init: str = "spectral",
) -> ExpandReport:
    """Overparameterise conv and linear layers of ``model`` in place.

    With ``init="spectral"`` outputs before and after agree to 1e-5, so that a pretrained network
    can be expanded; ``init="direct"`` draws a new kernel. Build the optimiser afterwards, from
    ``param_groups``.

    Args:
        model: Any network with Conv2d or Linear layers.
        tasks: Names of the tasks, one diagonal each.
        method: A name from ``METHODS``, or ``package.module:Name`` of a ``KernelFactors`` subclass.
        layers: Patterns over layer names; None takes ``model.encoder_layers``.
        rank_ratio: Rank over full rank, at least 1.
        init: "spectral" or "direct".

    Raises:
        PatternError: A pattern matches no layer.
        UsageError: The network is expanded already, or a setting is out of range.

    Source: Ren & Shi, sections 2.1 and 2.2; Khodak et al. (2021) for the initialisation.
    """
    _check_tasks(tasks)
    if is_expanded(model):
        raise UsageError(
            f"{type(model).__name__} is expanded already",
            hint="contract(model) first, then expand it anew",
        )
    build = _method(method)
    patterns = declared_patterns(model, layers, "encoder_layers", "layers")
    chosen = matching_layers(model, patterns, LAYER_TYPES)
    left_dense = {
        name: why for name, layer in chosen.items() if (why := _why_not(build, model, layer))
    }
    wanted = {name: layer for name, layer in chosen.items() if name not in left_dense}
    if not wanted:
        whys = "; ".join(f"`{name}`: {why}" for name, why in left_dense.items())
        raise UsageError(f"nothing to expand with patterns {list(patterns)}: {whys}")
    before = _num_params(model)
    fitted = {
        name: build.fitted(_weight(layer), tasks, rank_ratio=rank_ratio, init=init)
        for name, layer in wanted.items()
    }
    for name, factors in fitted.items():  # only now: an error above leaves the network as it was
        attach(wanted[name], factors)
    return ExpandReport(
        method=method,
        tasks=tuple(tasks),
        layers={name: factors.settings() for name, factors in fitted.items()},
        left_dense=left_dense,
        num_params_before=before,
        num_params_after=_num_params(model),
    )


def is_expanded(model: nn.Module) -> bool:
    """Tell whether any layer of the network is expanded."""
    return any(True for _ in expanded_layers(model))


def expansion_spec(model: nn.Module) -> dict[str, Any]:
    """Return what ``expand_like`` needs to re-create the expansion, as JSON.

    Raises:
        UsageError: The network is not expanded.
    """
    found = [(name, factors) for name, _, factors in expanded_layers(model)]
    if not found:
        raise UsageError(f"{type(model).__name__} is not expanded", hint="expand(model, ...) first")
    return {
        "method": found[0][1].method,
        "tasks": list(found[0][1].tasks),
        "layers": {name: factors.settings() for name, factors in found},
    }


def expand_like(model: nn.Module, spec: Mapping[str, Any]) -> None:
    """Re-create the parametrisations of ``expansion_spec`` on a dense network, in place.

    The factors are NaN until ``model.load_state_dict`` fills them, so that a forgotten load shows.

    Raises:
        UsageError: The network is expanded already.
        RefusedError: The method is not one of ours.
        CorruptFileError: The specification does not fit the network, or is malformed.
    """
    if is_expanded(model):
        raise UsageError(f"{type(model).__name__} is expanded already")
    modules = dict(model.named_modules())
    try:
        if spec["method"] not in METHODS:  # and is not imported: a specification comes from a file
            raise RefusedError(
                f"the expansion uses method `{spec['method']}`, "
                f"expected one of: {', '.join(METHODS)}",
                hint="expand the network with your own method, then load its state dict",
            )
        build, tasks = METHODS[spec["method"]], spec["tasks"]
        _check_tasks(tasks)
        planned = {}
        for name, settings in spec["layers"].items():
            layer = modules.get(name)
            if not isinstance(layer, LAYER_TYPES):
                raise CorruptFileError(
                    f"the expansion names layer `{name}`, "
                    f"which {type(model).__name__} does not have"
                )
            planned[name] = build.unfilled(_weight(layer), tasks, settings)
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise CorruptFileError(f"malformed expansion specification: {error!r}") from error
    for name, factors in planned.items():
        attach(modules[name], factors)


def _method(name: str) -> type[KernelFactors]:
    part = find_part(name, METHODS, "overparameterisation method")
    if not (isinstance(part, type) and issubclass(part, KernelFactors)):
        raise PartError(f"`{name}` is not a subclass of compactmtl.overparam.KernelFactors")
    return part


def _why_not(method: type[KernelFactors], model: nn.Module, layer: nn.Module) -> str | None:
    if parametrize.is_parametrized(layer, "weight"):
        return "its weight has a parametrisation already"
    weight = layer._parameters.get("weight")
    if weight is None:
        return "its weight is computed by another module"
    for name, module in model.named_modules():
        owned = any(parameter is weight for parameter in module._parameters.values())
        if owned and module is not layer:
            return f"shares its weight with `{name}`"
    return method.why_not(layer)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _check_tasks(tasks: Sequence[str]) -> None:
    if isinstance(tasks, str) or not tasks:
        raise UsageError(f"tasks is {tasks!r}, expected a sequence of task names")
    for task in tasks:
        if not isinstance(task, str) or not task or "." in task:
            raise UsageError(f"task name {task!r} must be a non-empty string without dots")
    if len(set(tasks)) != len(tasks):
        raise UsageError(f"a task is named twice in {list(tasks)}")


def _num_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
