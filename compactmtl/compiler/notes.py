"""Tell a user why the network did not become smaller, and what would help."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from compactmtl.compact import Cost
from compactmtl.compiler.analysis import opaque_nodes
from compactmtl.compiler.explain import layer_nodes
from compactmtl.compiler.rules import Facts
from compactmtl.compiler.rules.weights import by_group

NEARLY_ZERO = 1e-3
"""Norm of a group, relative to its layer's median, below which it is small on purpose."""

OUR_TRAINER = (
    "`compactmtl train RUN/recipe.toml --init RUN/ckpt.pt --set sparsity.target=0.5` (RUN: the run "
    "folder)"
)
OWN_LOOP = (
    "in your own loop `optimizer = cm.ProximalAdamW(model.parameters(), groups=cm.groups(model, "
    "layers=..., reads=...), lam=1e-2)`"
)


def is_smaller(before: Cost, after: Cost) -> bool:
    """Tell whether anything was saved."""
    return after.macs < before.macs or after.num_params < before.num_params


def group_norms(facts: Facts) -> list[dict[str, Any]]:
    """Return per layer how large its input groups ``W[:, c]`` are (l2), as JSON data."""
    return [
        {
            "layer": name,
            "num_groups": norms.numel(),
            "min": norms.min().item(),
            "median": norms.median().item(),
        }
        for name, norms in _norms(facts).items()
    ]


def _norms(facts: Facts) -> dict[str, Tensor]:
    return {
        name: torch.linalg.vector_norm(
            by_group(node, facts.tensor(node.args[1]).double()).transpose(1, 2).flatten(2), dim=2
        ).flatten()
        for name, node in layer_nodes(facts)
    }


def notes(
    facts: Facts,
    census: Mapping[str, int],
    before: Cost,
    possible: Cost,
    *,
    pruned: bool,
    recipe: Mapping[str, Any] | None,
) -> list[str]:
    """Return sentences for a user whose network did not become smaller; none where it did.

    Args:
        facts: Of the captured network.
        census: As ``count_channels`` counts it.
        before: Cost of the network.
        possible: Cost once everything removable is removed.
        pruned: Whether it was removed.
        recipe: The recipe it was trained with, if there is one.
    """
    if is_smaller(before, possible):
        if pruned:
            return []
        return [
            f"{census['removable_channels']} of {census['num_channels']} channels could be "
            f"removed: MACs {before.macs:,} -> {possible.macs:,}, parameters "
            f"{before.num_params:,} -> {possible.num_params:,}; add --prune-zero-channels to do it"
        ]
    if census["zero_groups"]:
        opaque = len(opaque_nodes(facts))
        return [
            f"nothing can be removed: {census['zero_groups']} of {census['num_groups']} input "
            "groups are zero, but each of their channels is read by another layer"
            + (f", or by an opaque op (there are {opaque})" if opaque else ""),
            "zero a channel in every layer that reads it; --objective macs skips what one layer "
            "does not read, through a gather",
        ]
    return [
        f"nothing can be removed: none of {census['num_groups']} input groups is exactly zero",
        f"likely cause: {_cause(facts, recipe)}",
        "what helps: training on with group sparsity, "
        + (OWN_LOOP if recipe is None else OUR_TRAINER),
    ]


def _cause(facts: Facts, recipe: Mapping[str, Any] | None) -> str:
    small = sum(int((n < NEARLY_ZERO * n.median()).sum()) for n in _norms(facts).values())
    if small:
        return (
            f"{small} groups are nearly zero, none exactly: weight decay and l1 penalties make "
            "groups small, only a proximal step makes them zero"
        )
    section = (recipe or {}).get("sparsity")
    if section:
        return (
            f"the recipe's [sparsity] (lam {section.get('lam')}) was too weak or too short to "
            "zero a group"
        )
    return "it was trained without group sparsity"
