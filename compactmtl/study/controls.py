"""What a sparse training must be held against, beside the dense one."""

from collections.abc import Sequence
from typing import Any

from compactmtl.errors import UsageError
from compactmtl.recipe import Recipe, parse
from compactmtl.study.subjects import FROM, Subject

WIDTHS, ONE_SHOT, PUBLISHED = "-widths", "-one-shot", "-published"
"""Behind the label of the sparse subject, of the sparse, and of the dense one."""


def with_controls(subjects: Sequence[Subject]) -> tuple[list[Subject], list[str]]:
    """Add the controls of every sparse subject; the first subject is the dense one.

    - ``LABEL-widths``: trained as the first subject is, from first weights, at the widths that the
      sparse run of the same seed has left once it is compiled.
    - ``LABEL-one-shot``: the first subject's run of the same seed; the smallest groups become zero,
      as many as in the sparse run, and it is trained on with these zeros for as many epochs, from
      the learning rate, as the sparse run was.
    - ``DENSE-published``: the first subject with coupled decay, as the dense baselines of paper B's
      code have it: what separates it from ``DENSE`` has nothing to do with sparsity.

    Returns:
        All subjects, and a sentence for each control that would show nothing.

    Raises:
        UsageError: The first subject is not dense, none is sparse, one has another network, data or
            penalty than a control can have, or a label is taken.
    """
    dense = subjects[0]
    sparse = [each for each in subjects if each.recipe.sparsity is not None and not each.control]
    _check(dense, sparse)
    added, notes = [], []
    for each in sparse:
        added.append(Subject(each.label + WIDTHS, _with(dense.recipe), "widths", each.label))
        if why := _no_debias(each.recipe):
            notes.append(f"{each.label}{ONE_SHOT} is left out: {why}")
        else:
            added.append(_one_shot(dense, each))
    if dense.recipe.train.weight_decay:
        added.append(Subject(dense.label + PUBLISHED, _with(dense.recipe, decay="coupled")))
    else:
        notes.append(
            f"{dense.label}{PUBLISHED} is left out: with train.weight_decay 0 it is {dense.label}"
        )
    labels = [each.label for each in subjects]
    for each in added:
        if each.label in labels:
            raise UsageError(
                f"`{each.label}` is a control's label, and a subject is called so already",
                hint="name it otherwise: LABEL=RECIPE",
            )
    return [*subjects, *added], notes


def _check(dense: Subject, sparse: Sequence[Subject]) -> None:
    if not sparse:
        raise UsageError(
            "--controls are controls of sparse recipes, and none of these is one",
            hint="compactmtl compare rooms-dense rooms-sparse --controls",
        )
    is_plain = dense.recipe.sparsity is None and dense.recipe.overparam is None
    if not is_plain or dense.recipe.model.pretrained is not None or dense.recipe.train.init:
        raise UsageError(
            f"the first recipe, `{dense.label}`, is what controls are trained by, and it is not a "
            "dense training from scratch",
            hint="put one first without [overparam], [sparsity], train.init and model.pretrained",
        )
    for each in sparse:
        for name in ("model", "data", "tasks"):
            if getattr(each.recipe, name) != getattr(dense.recipe, name):
                raise UsageError(
                    f"`{each.label}` differs from `{dense.label}` in [{name}]: no control would "
                    "differ from it in sparsity alone",
                    hint="compare recipes that differ in the method alone",
                )


def _one_shot(dense: Subject, sparse: Subject) -> Subject:
    """Return the control as far as it is known before the sparse run is."""
    section = sparse.recipe.sparsity
    assert section is not None
    same = section.model_dump(mode="json", include={"by", "layers", "reads", "keep"})
    once = {name: value for name, value in same.items() if value is not None}
    once |= {"schedule": "once", "start": 0.0, "target": 0.5}
    recipe = _with(dense.recipe, sparsity=once, init=FROM + dense.label)
    return Subject(sparse.label + ONE_SHOT, recipe, "one-shot", sparse.label)


def _with(recipe: Recipe, *, sparsity: dict[str, Any] | None = None, **train: Any) -> Recipe:
    """Return a dense recipe with other settings; what it must reach is the dense run's affair."""
    document = recipe.to_dict()
    document.pop("check", None)
    document["train"] |= train
    if sparsity is not None:
        document["sparsity"] = sparsity
    return parse(document, source=f"a control of `{recipe.name}`")


def _no_debias(recipe: Recipe) -> str:
    """Say why one-shot pruning has no counterpart; "" where it has one."""
    section = recipe.sparsity
    assert section is not None
    if section.stop == 1.0 and section.schedule != "target":
        return "the penalty acts to the end, so there is no budget to train on with"
    if section.l1_share > 0:
        return "zeros of two kinds, groups and single weights, have no common measure of size"
    return ""
