"""Which of an artefact's max-poolings stands for which of the program's, where it has fewer.

A converter computes once what a program computes twice: pools of equal inputs become one. Nothing
in the file says which, so each pool of the program takes that one of the artefact's selections
which fits it: every index picks, in fp64, the largest value of its window up to a near-tie. That is
the condition under which a selection may be imposed at all, so a wrong pairing can make a right
artefact fail, never a wrong one pass.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from compactmtl.errors import ExportError
from compactmtl.export.reference import MAX_POOL, NEAR_TIE, Reference, gap, outside_window


def pair_pools(
    reference: Reference,
    inputs: Sequence[Tensor],
    pools: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> list[Tensor]:
    """Return one selection per pool of the program, in the order of its graph.

    Args:
        reference: The program.
        inputs: One tensor per input, in order.
        pools: What each max-pooling of the artefact selected: (N, C, h, w), indices of a plane.
        outputs: The artefact's flattened outputs, among them the argmax ones.

    Raises:
        ExportError: The artefact has more pools than the program; none of them fits one of the
            program's; or one of them fits none.
    """
    counts = (
        f"the artefact has {len(pools)} pools that hand indices on, the program has "
        f"{reference.num_pools}"
    )
    if len(pools) > reference.num_pools:
        raise ExportError(f"{counts}; they cannot be compared")
    taken: list[int] = []

    def choose(node: fx.Node, source: Tensor, own: Tensor) -> Tensor:
        if node.target is not MAX_POOL:
            return outputs[reference.outputs.index(node)]
        fitting = [i for i, pool in enumerate(pools) if _fits(node, source, own, pool)]
        if not fitting:
            raise ExportError(
                f"{counts}; none of them selects what `{node.name}` selects in fp64: gap at most "
                f"{NEAR_TIE:.0e} expected, nothing was written"
            )
        # Where all values of a plane are equal, any index fits: the most similar is the one.
        taken.append(min(fitting, key=lambda i: int((pools[i] != own).sum())))
        return pools[taken[-1]]

    reference.run_choosing(inputs, torch.float64, choose)
    if unused := sorted({*range(len(pools))} - {*taken}):
        raise ExportError(
            f"{counts}; number {unused[0]} of the artefact's selects what none of the program's "
            "does, nothing was written"
        )
    return [pools[index] for index in taken]


def _fits(node: fx.Node, source: Tensor, own: Tensor, pool: Tensor) -> bool:
    if pool.shape != own.shape:
        return False
    if not pool.numel():
        return True
    if bool(outside_window(node, source, pool).any()):
        return False
    return bool(gap(node, source, own, pool).max() <= NEAR_TIE)
