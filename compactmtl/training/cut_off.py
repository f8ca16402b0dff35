"""Notice that a penalty has cut a task off from the image: it would train on in vain."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compactmtl.sparsity import ChannelGroups
from compactmtl.training.seeding import preserved_rng

ALIKE = 1e-6
"""Outputs for two images that differ by less, relative to the largest, do not depend on them."""


class CutOff:
    """Looks at every task's output for two images, and speaks of each task once.

    Args:
        model: The network, as it is trained.
        image: (3, H, W), any; the other one is noise.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        self._model = model
        with preserved_rng():
            self._images = torch.stack([image, torch.rand_like(image)])
        self._said: set[str] = set()

    def note(self, groups: Sequence[ChannelGroups]) -> str:
        """Return a sentence on the tasks that are newly cut off; "" if there are none.

        Args:
            groups: Of the penalised layers; those without a live one are named.
        """
        dead = [group.name for group in groups if bool(group.is_zero().all())]
        if not dead:
            return ""
        new = [name for name in self._constant() if name not in self._said]
        self._said.update(new)
        if not new:
            return ""
        tasks = ", ".join(f"`{name}`" for name in new)
        return (
            f"{tasks}: the output is the same for any image, since every group of "
            f"{', '.join(dead)} is zero; ask for less (sparsity.target, sparsity.lam), or spare "
            "layers (sparsity.keep)"
        )

    @torch.no_grad()
    def _constant(self) -> list[str]:
        """Return the tasks whose raw output is one tensor that does not depend on the image."""
        was_training = self._model.training
        self._model.eval()
        weight = next(self._model.parameters())
        with parametrize.cached(), torch.compiler.set_stance("force_eager"):
            raws = self._model(self._images.to(weight))
        self._model.train(was_training)
        return [
            name
            for name, raw in raws.items()
            if isinstance(raw, Tensor)
            and raw.is_floating_point()
            and bool((raw[0] - raw[1]).abs().max() <= ALIKE * raw.abs().max())
        ]
