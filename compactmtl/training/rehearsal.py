"""Find out in seconds what a training would be refused for."""

from collections.abc import Mapping

from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import assemble
from compactmtl.training.device import make_fabric
from compactmtl.training.penalty import CostFunction
from compactmtl.training.phases import phases
from compactmtl.training.placement import check_compiler
from compactmtl.training.preparation import prepare
from compactmtl.training.reporter import NullReporter
from compactmtl.training.seeding import preserved_rng
from compactmtl.training.settings import check_settings


def rehearse(
    recipe: Recipe, splits: Mapping[str, MultiTaskDataset], *, cost: CostFunction | None = None
) -> None:
    """Do what ``fit`` does before its first step, and enter the first phase; write nothing.

    ``train.compile`` is checked but not done: it takes minutes.

    Args:
        recipe: What would be trained, on ``train.device``.
        splits: The data to use in place of the recipe's: "train" and "val".
        cost: As for ``fit``.

    Raises:
        CompactMTLError: What ``fit`` raises before its first step.
    """
    reporter = NullReporter()
    check_settings(recipe)
    first_phase = phases(recipe)[0]
    with preserved_rng():
        fabric = make_fabric(recipe.train)
        if recipe.train.compile:
            check_compiler(fabric.device)
            train = recipe.train.model_copy(update={"compile": False})
            recipe = recipe.model_copy(update={"train": train})
        parts = assemble(
            recipe, train_data=splits["train"], val_data=splits["val"], reporter=reporter
        )
        _, learner = prepare(recipe, parts, fabric, reporter, cost=cost)
        learner.enter(first_phase, 0)
