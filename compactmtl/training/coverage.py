"""Find out before the first step whether every task has something to be trained on."""

from functools import partial

from compactmtl.data.labelled import LOOK, check_subsets, look
from compactmtl.multitask.task import trained
from compactmtl.overparam import METHODS
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import Parts
from compactmtl.training.feed import Feed
from compactmtl.training.phases import is_overparam, phases
from compactmtl.training.reporter import Reporter
from compactmtl.training.seeding import preserved_rng


def check_coverage(recipe: Recipe, parts: Parts, feed: Feed, reporter: Reporter) -> None:
    """Refuse data in which a task is labelled nowhere, or nowhere in a subset it is trained on.

    Looks at a few samples of each split; reads all of them only where one of those lacks a task.
    What is labelled in part is said in a message.

    Raises:
        DataError: A task has nothing to be trained or scored on, or a sample is malformed.
    """
    with preserved_rng():  # augmentation draws numbers
        for split, data in (("train", parts.train_data), ("val", parts.val_data)):
            counts = look(
                data,
                parts.tasks,
                f"the {split} split of `{recipe.data.name}`",
                progress=partial(_say, reporter, f"{split} samples looked through"),
            )
            looked = min(LOOK, len(data))
            for name, count in counts.items():
                if count < looked:
                    reporter.message(
                        f"{split}: {count} of {looked} samples looked at are labelled for "
                        f"`{name}`; the others count in neither its loss nor its metric"
                    )
            is_partial = any(count < looked for count in counts.values())
            if split == "train" and is_partial and _trains_on_subsets(recipe):
                epochs = [e for e, phase in enumerate(phases(recipe)) if is_overparam(phase)]
                check_subsets(
                    data,
                    trained(parts.tasks),
                    {epoch + 1: feed.subset_samples(epoch) for epoch in epochs},
                    progress=partial(_say, reporter, "labels counted"),
                )


def _trains_on_subsets(recipe: Recipe) -> bool:
    section = recipe.overparam
    if section is None or section.iterative not in (None, "subset"):
        return False
    method = METHODS.get(section.method)
    return bool(getattr(method, "trains_by_task", False))


def _say(reporter: Reporter, what: str, done: int, total: int) -> None:
    reporter.preparing(what, done, total)
