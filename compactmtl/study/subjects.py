"""What a study compares: recipes with settings, each under a label."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compactmtl.errors import UsageError
from compactmtl.models.recipes import load
from compactmtl.recipe import Recipe

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FROM = "@"
"""Before a subject's label in ``train.init``: that subject's run of the same seed."""


@dataclass(frozen=True)
class Subject:
    """A label and the recipe it stands for; the study sets the seed.

    Attributes:
        label: Names its folder.
        recipe: What each of its runs does.
        control: "widths": the recipe trains, from first weights, what was compiled of the run of
            ``of``. "one-shot": the recipe prunes as many groups as that run did, and trains on for
            as long.
        of: The label of the sparse subject that it controls for.
    """

    label: str
    recipe: Recipe
    control: Literal["", "widths", "one-shot"] = ""
    of: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Labels of the subjects whose run of a seed must be finished before this one's begins."""
        init = self.recipe.train.init or ""
        start = (init.removeprefix(FROM),) if init.startswith(FROM) else ()
        return (*start, *((self.of,) if self.of else ()))


def parse_subject(text: str, settings: tuple[str, ...] = ()) -> Subject:
    """Read ``[LABEL=]RECIPE[+key=value...]``.

    ``repvgg=rooms-fac+overparam.method=repvgg`` is the recipe ``rooms-fac`` with another method,
    called ``repvgg``. Without a label the recipe's own name is taken, with its settings' values.

    Args:
        text: What the user wrote.
        settings: Settings of all subjects; its own come after.

    Raises:
        UsageError: It is malformed, or its label cannot be a folder's name.
        RecipeError, PartError, MissingFileError: As ``compactmtl.models.recipes.load``.
    """
    head, *own = text.split("+")
    label, has_label, name = head.rpartition("=")
    for setting in own:
        if "=" not in setting:
            raise UsageError(
                f"`{text}`: `{setting}` is no setting",
                hint="write [LABEL=]RECIPE+key=value, as in fnl=rooms-fac+overparam.method=fnl",
            )
    if not has_label:
        values = [re.sub(r"[^A-Za-z0-9.]+", "-", s.partition("=")[2]).strip("-") for s in own]
        label = "-".join([Path(name).stem, *values])
    if not LABEL.fullmatch(label):
        raise UsageError(f"`{label}` cannot be the name of a folder", hint="write LABEL=RECIPE")
    return Subject(label, load(name, [*settings, *own]))


def parse_subjects(texts: list[str], settings: tuple[str, ...] = ()) -> list[Subject]:
    """Read several; the first is the baseline.

    Raises:
        UsageError: Fewer than two, a label twice, subjects with different tasks, or a subject that
            starts from one that is not before it.
    """
    subjects = [parse_subject(text, settings) for text in texts]
    if len(subjects) < 2:
        raise UsageError(
            f"a comparison needs two recipes at least, got {len(subjects)}",
            hint="compactmtl compare rooms-dense rooms-fac --seeds 3",
        )
    labels = [subject.label for subject in subjects]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"two subjects are called `{label}`", hint="name one: LABEL=RECIPE")
    for subject in subjects[1:]:
        if set(subject.recipe.tasks) != set(subjects[0].recipe.tasks):
            raise UsageError(
                f"`{subject.label}` has the tasks {', '.join(subject.recipe.tasks)}, "
                f"`{labels[0]}` has {', '.join(subjects[0].recipe.tasks)}: nothing to pair"
            )
    for index, subject in enumerate(subjects):
        for label in subject.needs:
            if label not in labels[:index]:
                raise UsageError(
                    f"`{subject.label}` starts from `{FROM}{label}`, and no subject before it is "
                    "called so",
                    hint=f"before it are: {', '.join(labels[:index]) or 'none'}",
                )
    return subjects
