"""The plan against noise: a channel is kept exactly if an output moves with it.

Three exceptions, each bounded here: the carrier of a convolution that constants and zero padding
meet; the fillers that give all groups of a grouped convolution the same size; and the one channel
without which a layer would have none.
"""

import copy
from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from noise_oracle import (
    by_group,
    images_for,
    needed_channels,
    positive_net,
    used_columns,
    varying_outputs,
)
from noise_watch import Call
from torch import Tensor, nn

from compactmtl.compiler.analysis import analyse
from compactmtl.compiler.capture import capture
from compactmtl.compiler.cost import cost_model
from compactmtl.compiler.explain import carrier_table, layer_nodes
from compactmtl.compiler.lower import Lowering
from compactmtl.compiler.normalise import normalise
from compactmtl.compiler.plan import make_plan


@dataclass
class Planned:
    """What the compiler keeps, per call of a layer: output channels, input channels read."""

    rows: dict[Call, set[int]]
    columns: dict[Call, list[int]]
    carriers: dict[str, list[int]]


def plan(model: nn.Module, image: Tensor) -> Planned:
    """Compile for least MACs."""
    captured = capture(copy.deepcopy(model).float(), image.float(), dynamic=False)
    normalise(captured.module)
    facts, cost = analyse(captured.module), cost_model("macs")
    assert not facts.refusals
    lowering = Lowering(facts, make_plan(facts, cost), cost)
    left = {node.name for node in lowering.run().graph.nodes}
    layouts = lowering.layouts_by_name()
    planned, calls = Planned({}, {}, {}), Counter[str]()
    for name, node in layer_nodes(facts):
        call = (name, calls[name])
        calls[name] += 1
        planned.rows[call] = set(lowering.plan.rows[node.name])
        if node.name in left:
            source = node.args[0].name
            stored = lowering.plan.rows.get(source) or layouts[source]
            planned.columns[call] = list(lowering.plan.gathers.get(node.name, stored))
    for row in carrier_table(facts):
        planned.carriers.setdefault(row["layer"], []).append(row["channel"])
    return planned


def faults(model: nn.Module, images: list[Tensor], planned: Planned) -> list[str]:
    """Return what is kept without need, and what is needed and not kept."""
    needed = needed_channels(model, images, planned.carriers)
    varying = varying_outputs(model, images)
    excused = needed_channels(model, images, planned.carriers, read=planned.columns)
    found = []
    for call, channels in needed.items():
        rows = planned.rows.get(call, set())
        wanted, fillers = indices(channels), indices(excused[call])
        groups = getattr(model.get_submodule(call[0]), "groups", 1)
        # A constant that is stored may come from elsewhere than from its layer.
        missing = (wanted & indices(varying[call])) - rows
        found += [f"{call} lacks {channel}" for channel in sorted(missing)]
        surplus = rows - fillers
        if not rows or (not wanted and len(rows) == 1):
            continue
        if groups > 1 and call in planned.columns:
            found += uneven_groups(call, rows, fillers, len(channels), groups)
            surplus = set()
        found += [f"{call} keeps {channel}" for channel in sorted(surplus)]
        if call in planned.columns:
            used = used_columns(model, images, call, rows & wanted, planned.carriers)
            read = by_group(torch.tensor([c in planned.columns[call] for c in range(used.numel())]),
                            groups)  # fmt: skip
            most = max(1, int(used.sum(1).amax()))
            if int(read.sum(1).amax()) > most or (used & ~read).any():
                found.append(f"{call} reads {read.sum(1).tolist()} for {used.sum(1).tolist()}")
    return found


def uneven_groups(
    call: Call, rows: set[int], fillers: set[int], num_rows: int, groups: int
) -> list[str]:
    """Return what is wrong with the groups that a grouped convolution still has.

    Rows of a group that is left are no fillers of another layer's, but of its own: all groups have
    equally many, no more than one of them has rows that something wants. There may be fewer groups
    than are wanted: a constant that is stored may come from elsewhere than from its layer, and so
    may any number that fills up another one. What must come from this layer is asked for apart.
    """
    wanted = by_group(torch.tensor([c in fillers for c in range(num_rows)]), groups).sum(1)
    kept = by_group(torch.tensor([c in rows for c in range(num_rows)]), groups).sum(1)
    is_left = kept > 0
    is_even = (kept[is_left] == kept.amax()).all() and kept.amax() <= wanted[is_left].amax()
    if is_even and wanted[is_left].all():
        return []
    return [f"{call} keeps {kept.tolist()} rows for {wanted.tolist()}"]


def indices(channels: Tensor) -> set[int]:
    return set(channels.nonzero().flatten().tolist())


def check(seed: int) -> None:
    model = positive_net(seed)
    images = images_for(model)
    planned = plan(model, images[0])
    assert faults(model, images, planned) == []


@pytest.mark.parametrize("block", range(3))
def test_the_plan_keeps_what_noise_says(block: int) -> None:
    for seed in range(3 * block, 3 * block + 3):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_plans_keep_what_noise_says(block: int) -> None:
    for seed in range(100 + 10 * block, 110 + 10 * block):
        check(seed)


@pytest.mark.slow
def test_the_oracle_sees_a_channel_too_many_and_one_too_few() -> None:
    model = positive_net(0)
    images = images_for(model)
    planned = plan(model, images[0])
    is_cut = {call: (rows, model.get_submodule(call[0])) for call, rows in planned.rows.items()}
    call, (rows, layer) = next(
        (call, (rows, layer))
        for call, (rows, layer) in is_cut.items()
        if isinstance(layer, nn.Conv2d) and layer.groups == 1 and 1 < len(rows) < layer.out_channels
    )
    extra = next(channel for channel in range(layer.out_channels) if channel not in rows)
    lost = min(rows)
    planned.rows[call] = rows | {extra}
    assert f"{call} keeps {extra}" in faults(model, images, planned)
    planned.rows[call] = rows - {lost}
    assert f"{call} lacks {lost}" in faults(model, images, planned)
    planned.rows[call] = rows
    assert faults(model, images, planned) == []


def test_the_oracle_trusts_no_pool_with_the_place_of_equal_maxima() -> None:
    """Seed 137: constants are pooled, and what layers.2 makes of them goes back to their places.

    layers.6 sees odd rows and columns only; the first place of a window is an even one.
    """
    model = positive_net(137)
    images = images_for(model)
    planned = plan(model, images[0])
    assert faults(model, images, planned) == []
    rows = planned.rows["layers.2", 0]
    for lost in (8, 11):
        planned.rows["layers.2", 0] = rows - {lost}
        assert f"('layers.2', 0) lacks {lost}" in faults(model, images, planned)


def test_the_oracle_sees_a_group_too_many_and_one_too_few() -> None:
    """Seed 119: row 4 of layers.2 matters; layers.7 wants something in the place of the others.

    For group 0 that is a stored number, for row 3 of group 1 what the layer makes. Seed 405: all
    that is left of layers.3 are numbers, which need no equal groups.
    """
    model = positive_net(119)
    images = images_for(model)
    planned = plan(model, images[0])
    assert faults(model, images, planned) == []
    for rows, fault in [
        ({0, 1, 2, 3, 4, 5}, "keeps [2, 2, 2] rows for [0, 1, 2]"),
        ({3, 4, 5}, "keeps [0, 1, 2] rows for [0, 1, 2]"),
        ({2, 3}, "lacks 4"),
    ]:
        planned.rows["layers.2", 0] = rows
        assert f"('layers.2', 0) {fault}" in faults(model, images, planned)
    check(405)
