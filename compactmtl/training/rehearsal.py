"""Find out in seconds what a training would be refused for."""

from collections.abc import Mapping

from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import assemble
from compactmtl.training.coverage import check_coverage
from compactmtl.training.device import make_fabric
from compactmtl.training.feed import Feed
from compactmtl.training.learner import Learner
from compactmtl.training.phases import phases
from compactmtl.training.placement import check_compiler
from compactmtl.training.preflight import check_first
from compactmtl.training.reporter import NullReporter
from compactmtl.training.seeding import preserved_rng
from compactmtl.training.settings import check_settings
from compactmtl.training.teacher import make_teacher


def rehearse(recipe: Recipe, splits: Mapping[str, MultiTaskDataset]) -> None:
    """Do what ``fit`` does before its first step, and enter the first phase; write nothing.

    ``train.compile`` is checked but not done: it takes minutes. What ``sparsity.target_macs`` and
    ``target_latency_ms`` can reach is not looked at.

    Args:
        recipe: What would be trained, on ``train.device``.
        splits: The data to use in place of the recipe's: "train" and "val".

    Raises:
        CompactMTLError: What ``fit`` raises before its first step.
    """
    reporter = NullReporter()
    check_settings(recipe)
    first_phase = phases(recipe)[0]
    train = recipe.train.model_copy(update={"compile": False})
    with preserved_rng():
        fabric = make_fabric(recipe.train)
        parts = assemble(
            recipe, train_data=splits["train"], val_data=splits["val"], reporter=reporter
        )
        feed = Feed(recipe, parts, fabric)
        learner = Learner(
            recipe,
            parts.model,
            parts.tasks,
            fabric,
            feed.steps_per_epoch,
            reporter,
            teacher=make_teacher(recipe, parts.model),
        )
        if recipe.train.compile:
            check_compiler(fabric.device)
        check_first(fabric, parts.model, feed, learner.tasks, train, reporter)
        check_coverage(recipe, parts, feed, reporter)
        learner.enter(first_phase, 0)
