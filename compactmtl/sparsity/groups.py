"""Which kernels of a network are penalised, and by which groups."""

import math
from collections.abc import Iterator, Sequence
from typing import cast

from torch import nn
from torch.nn.utils import parametrize

from compactmtl.errors import UsageError
from compactmtl.patterns import declared_patterns, matching_layers
from compactmtl.sparsity.channel_groups import AXES, By, ChannelGroups, FactoredKernel

LAYER_TYPES = (nn.Conv2d, nn.Linear)
"""Layers whose kernel has channel groups."""

Patterns = str | Sequence[str] | None


def groups(
    model: nn.Module,
    *,
    layers: Patterns = None,
    reads: Patterns = None,
    keep: Patterns = (),
    by: By = "input",
) -> list[ChannelGroups]:
    """Return the groups to be penalised, one entry per kernel.

    Without the heads' reads of the encoder output hardly a channel of it can be removed, because
    each must be zero for all of its readers.

    Args:
        model: The network. Layers expanded as a product of two matrices (``umv``, ``mshare``,
            ``fnl``) have groups by input; build groups anew after ``contract``.
        layers: Patterns of the encoder's layers; None takes ``model.encoder_layers``.
        reads: Patterns of the head layers that read the encoder; None takes ``model.head_reads``.
        keep: Patterns of layers that are left out.
        by: "input": a group is what reads one input channel, W[:, c]. "filter": W[o]. "weight":
            every weight is one, so that the penalty is the unstructured l1 norm.

    Raises:
        PatternError: A pattern matches no layer.
        UsageError: A layer is expanded by another method, is matched by given ``layers`` and
            ``reads`` both, or no layer is left; or ``by`` is unknown.

    Source: Upadhyay et al., arXiv 2308.12114, equation (6); the groups are input channels.
    """
    if by not in AXES:
        raise UsageError(f"groups by `{by}`, expected one of: {', '.join(AXES)}")
    found = [
        _groups_of(name, layer, by)
        for name, layer, skipped in _candidates(model, layers, reads, keep)
        if not skipped
    ]
    if not found:
        raise UsageError(
            f"no layer of {type(model).__name__} has channel groups with these patterns",
            hint="skipped_layers(model, ...) says why",
        )
    return found


def skipped_layers(
    model: nn.Module, *, layers: Patterns = None, reads: Patterns = None, keep: Patterns = ()
) -> dict[str, str]:
    """Return the layers that ``groups`` matches and leaves out, with the reason.

    Raises:
        PatternError: A pattern matches no layer.
        UsageError: A layer is expanded.
    """
    return {
        name: skipped for name, _, skipped in _candidates(model, layers, reads, keep) if skipped
    }


def _groups_of(name: str, layer: nn.Module, by: By) -> ChannelGroups:
    factors = _factors(name, layer)
    if factors is not None and by != "input":
        raise UsageError(
            f"`{name}` is expanded and has groups by input alone, not by {by}",
            hint="contract(model) before the sparse phase",
        )
    weight = own_parameter(name, layer)
    shape = weight.shape if factors is None else factors.kernel_shape
    places = getattr(layer, "places_per_channel", 1) if by == "input" else 1
    num_groups = math.prod(shape) if (dim := AXES[by]) is None else shape[dim] // places
    scale = math.sqrt(math.prod(shape) / num_groups)
    return ChannelGroups(name, weight, dim, num_groups, scale, factors, places)


def _factors(name: str, layer: nn.Module) -> FactoredKernel | None:
    """Return what makes the kernel of an expanded layer; None: the layer is plain."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    made_of = list(cast(nn.ModuleDict, layer.parametrizations)["weight"].children())
    if len(made_of) == 1 and hasattr(made_of[0], "input_factor"):
        factors = cast(FactoredKernel, made_of[0])
        if factors.input_factor() is not None:
            return factors
    raise UsageError(
        f"`{name}` has a parametrised weight ({type(made_of[0]).__name__}) whose input channels "
        "cannot be made zero, expected a plain one or a product of two matrices",
        hint="contract(model) before the sparse phase",
    )


def own_parameter(name: str, layer: nn.Module) -> nn.Parameter:
    """Return the parameter whose entries are made zero: a layer's weight, or V of an expanded one.

    Raises:
        UsageError: The weight is parametrised in another way.
    """
    factors = _factors(name, layer)
    found = layer.get_parameter("weight") if factors is None else factors.input_factor()
    assert found is not None
    return found


def _candidates(
    model: nn.Module, layers: Patterns, reads: Patterns, keep: Patterns
) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield name, layer and the reason to skip it, or an empty string."""
    encoder = declared_patterns(model, layers, "encoder_layers", "layers")
    heads = declared_patterns(model, reads, "head_reads", "reads")
    if layers is not None and reads is not None and encoder and heads:
        twice = matching_layers(model, encoder, LAYER_TYPES).keys() & (
            matching_layers(model, heads, LAYER_TYPES).keys()
        )
        for name in sorted(twice):
            raise UsageError(
                f"`{name}` is matched twice: by `layers` and by `reads`",
                hint="leave it out of one of them, as `!" + name + "`",
            )
    kept = set(matching_layers(model, keep or (), LAYER_TYPES).values())
    owners: dict[int, str] = {}
    for name, layer in matching_layers(model, (*encoder, *heads), LAYER_TYPES).items():
        weight = own_parameter(name, layer)
        if layer in kept:
            reason = "kept"
        elif getattr(layer, "groups", 1) != 1:
            reason = f"grouped convolution (groups={layer.groups})"
        elif id(weight) in owners:
            reason = f"shares its weight with `{owners[id(weight)]}`"
        else:
            owners[id(weight)] = name
            reason = ""
        yield name, layer, reason
