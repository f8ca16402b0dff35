"""What comes between a run's parts and its first step, in a training and in its rehearsal."""

from functools import partial

from lightning_fabric import Fabric

from compactmtl.recipe import Recipe
from compactmtl.training.assemble import Parts
from compactmtl.training.coverage import check_coverage
from compactmtl.training.feed import Feed
from compactmtl.training.learner import Learner
from compactmtl.training.penalty import CostFunction, measured
from compactmtl.training.preflight import check_first
from compactmtl.training.reporter import Reporter
from compactmtl.training.teacher import make_teacher


def prepare(
    recipe: Recipe,
    parts: Parts,
    fabric: Fabric,
    reporter: Reporter,
    *,
    cost: CostFunction | None,
    is_fresh: bool = True,
) -> tuple[Feed, Learner]:
    """Build what feeds and what learns, and check all that can be before a step.

    Args:
        recipe: What to do.
        parts: What it works on.
        fabric: Where.
        reporter: Hears of what takes long, and of data that are labelled in part.
        cost: For targets of cost: what a network costs compiled.
        is_fresh: Nothing was trained yet, so whether a cost can be reached is still to be seen.

    Raises:
        CompactMTLError: As ``Feed``, ``Learner``, ``make_teacher``, ``check_first`` and
            ``check_coverage`` say.
        RecipeError: A cost out of reach.
    """
    feed = Feed(recipe, parts, fabric)
    measure = None
    if cost is not None:
        measure = partial(measured, cost, image=parts.val_data[0][0].unsqueeze(0))
    learner = Learner(
        recipe,
        parts.model,
        parts.tasks,
        fabric,
        feed.steps_per_epoch,
        reporter,
        measure=None if measure is None else partial(measure, parts.model),
        teacher=make_teacher(recipe, parts.model),
    )
    if learner.penalty is not None and measure is not None and is_fresh:
        learner.penalty.check_reachable(parts.model, learner.groups, measure)
    check_first(fabric, parts.model, feed, learner.tasks, recipe.train, reporter)
    check_coverage(recipe, parts, feed, reporter)
    return feed, learner
