"""Cross-stitch: one SegNet per task, and units that mix their features after every stage."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compactmtl.errors import RecipeError
from compactmtl.models.heads import one_per_task
from compactmtl.models.segnet import EncoderDecoder, check_widths, head, initialise

ALPHA = 0.9
"""What a task takes of its own features at the start; the others share the rest."""


class CrossStitchSegNet(nn.Module):
    """One SegNet per task; behind every stage each task's features become a mixture of all tasks'.

    Args:
        tasks: Number of output channels by task name.
        widths: As for ``SegNet``.
        unit: ``scalar``: a T x T matrix per stage. ``channel``: one per channel. ``shared``: one
            row per stage that every task takes, as in the published code of MTAN, started at ones;
            behind the first stage all tasks then have the same features.

    Shape:
        (N, 3, H, W) -> {task: (N, channels, H, W)}, sizes as for ``SegNet``.

    Raises:
        RecipeError: As ``SegNet``; or an unknown ``unit``.

    Source:
        Misra et al. (2016), Cross-stitch Networks for Multi-task Learning, equation (1). Codes
        differ in the unit; a matrix per stage, started at 0.9, is our reading.
    """

    encoder_layers: ClassVar[tuple[str, ...]] = ("encoders.*",)
    head_reads: ClassVar[tuple[str, ...]] = ("heads.*.0",)

    def __init__(
        self,
        tasks: Mapping[str, int],
        *,
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        unit: Literal["scalar", "channel", "shared"] = "scalar",
    ) -> None:
        check_widths(widths)
        if unit not in ("scalar", "channel", "shared"):
            raise RecipeError(f"cross-stitch: unit is `{unit}`, expected scalar, channel or shared")
        super().__init__()
        self.encoders = one_per_task(tasks, lambda _: EncoderDecoder(widths))
        outputs = (widths[0], *widths[:-1])
        self.down_units = nn.ModuleList(_Unit(len(tasks), width, unit) for width in widths)
        self.up_units = nn.ModuleList(_Unit(len(tasks), out, unit) for out in outputs)
        self.heads = one_per_task(tasks, lambda num_channels: head(widths[0], num_channels))
        initialise(self)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw output of each task, in the order of the tasks."""
        networks = [n for n in self.encoders.values() if isinstance(n, EncoderDecoder)]
        features, pooled = [image] * len(networks), []
        for level, unit in enumerate(self.down_units):
            mixed = unit([n.down[level](x) for n, x in zip(networks, features, strict=True)])
            halved = [F.max_pool2d(x, 2, return_indices=True) for x in mixed]
            pooled.append(([indices for _, indices in halved], mixed[0].shape[-2:]))
            features = [x for x, _ in halved]
        for level in reversed(range(len(pooled))):
            indices, size = pooled[level]
            wide = [
                F.max_unpool2d(x, i, (2, 2), output_size=size)
                for x, i in zip(features, indices, strict=True)
            ]
            place = len(pooled) - 1 - level  # stages up are stored in the order they run
            own = [n.up[place](x) for n, x in zip(networks, wide, strict=True)]
            features = self.up_units[level](own)
        return {name: head(x) for (name, head), x in zip(self.heads.items(), features, strict=True)}


class _Unit(nn.Module):
    """``y_t = sum_s a[t, s] x_s``, with numbers or per channel.

    Shape:
        T values (N, C, h, w) -> T values of that shape.
    """

    def __init__(self, num_tasks: int, num_channels: int, kind: str) -> None:
        super().__init__()
        rows = 1 if kind == "shared" else num_tasks
        off = (1 - ALPHA) / max(1, num_tasks - 1)
        start = torch.ones(rows, num_tasks)
        if kind != "shared":
            own = ALPHA if num_tasks > 1 else 1.0
            start = off * (1 - torch.eye(num_tasks)) + own * torch.eye(num_tasks)
        size = num_channels if kind == "channel" else 1
        self.mix = nn.ParameterList(
            nn.ParameterList(nn.Parameter(start[t, s].repeat(size, 1, 1)) for s in range(num_tasks))
            for t in range(rows)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        mixed = []
        for row in self.mix:
            terms = [a * x for a, x in zip(row, features, strict=True)]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            mixed.append(total)
        return mixed * len(features) if len(mixed) == 1 else mixed
