"""Find out, before a study's first run, what would be refused, and how long the rest takes."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from compactmtl.data.checks import SPLITS
from compactmtl.errors import CompactMTLError, DataError
from compactmtl.recipe import Recipe
from compactmtl.study.subjects import FROM, Subject
from compactmtl.training import NullReporter, Reporter
from compactmtl.training.assemble import load_split
from compactmtl.training.penalty import CostFunction
from compactmtl.training.rehearsal import Estimate, rehearse


def rehearse_subjects(
    subjects: Sequence[Subject],
    *,
    device: str,
    cost_of: Callable[[Recipe], CostFunction | None] = lambda _: None,
    reporter: Reporter | None = None,
    on_done: Callable[[], object] = lambda: None,
) -> dict[str, Estimate]:
    """Do the first steps of each subject's training, and read its test split.

    A run that another one starts from is not there yet: neither is it read, nor what is taught
    by it. On a GPU the memory that the steps took is given back: the runs have processes of
    their own.

    Args:
        subjects: What to rehearse; data that follow each other and are alike are read once.
        device: Where the runs will be.
        cost_of: Returns what a recipe's target of cost is measured by, if it has one.
        reporter: Hears of images that are made ready.
        on_done: Called after each subject.

    Returns:
        By label what one run costs.

    Raises:
        CompactMTLError: What the first run of a subject would raise; the message names it.
    """
    reporter = NullReporter() if reporter is None else reporter
    data, splits = None, {}
    found = {}
    for subject in subjects:
        recipe = _alone(subject.recipe, device)
        with _named(subject.label):
            if recipe.data != data:
                data = recipe.data
                splits = {split: load_split(recipe, split, reporter) for split in SPLITS}
            if len(splits["test"]) == 0:
                raise DataError(f"the test split of `{recipe.data.name}` is empty")
            found[subject.label] = rehearse(recipe, splits, cost=cost_of(recipe))
        gc.collect()
        torch.cuda.empty_cache()
        on_done()
    return found


def _alone(recipe: Recipe, device: str) -> Recipe:
    """Return the recipe on a device, without what other runs of its study have to leave first."""
    train = recipe.train.model_copy(update={"device": device})
    if (train.init or "").startswith(FROM):
        train = train.model_copy(update={"init": None, "distill": 0.0})
    return recipe.model_copy(update={"train": train})


@contextmanager
def _named(label: str) -> Iterator[None]:
    """Say in an error whose it is."""
    try:
        yield
    except CompactMTLError as error:
        error.message = f"{label}: {error.message}"
        error.args = (error.message,)
        raise
