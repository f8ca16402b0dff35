"""The recipe of one run where it depends on other runs of its seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compactmtl.errors import TrainingError
from compactmtl.recipe import Recipe, parse
from compactmtl.study.subjects import FROM, Subject
from compactmtl.training.learning_rate import lr_factor
from compactmtl.training.logs import read_log

ZEROS = {"input": "groups", "filter": "filters", "weight": "weights"}
"""What a penalty's groups are called in the log."""


def derived(subject: Subject, runs: Mapping[str, Path], *, device: str) -> Recipe:
    """Return a subject's recipe for a seed, in terms of files.

    Args:
        subject: With ``needs``.
        runs: The finished run folders of the subjects that it needs, by label.
        device: The device of the run.

    Raises:
        TrainingError: The sparse run has no zeros, or no debias phase: nothing to control for.
    """
    document = subject.recipe.to_dict()
    document["train"] |= {"device": device}
    init = subject.recipe.train.init or ""
    if init.startswith(FROM):
        document["train"]["init"] = str((runs[init.removeprefix(FROM)] / "ckpt.pt").resolve())
    if subject.control == "one-shot":
        _as_long_as_debias(document, subject, read_log(runs[subject.of]))
    return parse(document, source=f"`{subject.label}`")


def _as_long_as_debias(
    document: dict[str, Any], subject: Subject, log: list[dict[str, Any]]
) -> None:
    """Take share of zeros, epochs and learning rate from the log of the sparse run."""
    section, train = subject.recipe.sparsity, subject.recipe.train
    assert section is not None
    counts, name = log[-1]["sparsity"] or {}, ZEROS[section.by]
    zeros, total = counts.get(f"zero_{name}", 0), counts.get(f"num_{name}", 0)
    if not zeros:
        raise TrainingError(
            f"{subject.label}: no group of `{subject.of}` is zero, so there is nothing to prune",
            hint="train it with sparsity.target, or a larger sparsity.lam",
        )
    epochs = sum(str(record["phase"]).endswith("debias") for record in log)
    if not epochs:
        raise TrainingError(
            f"{subject.label}: `{subject.of}` has no debias phase, so there is no budget to train "
            "on with",
            hint="let it end earlier: sparsity.stop",
        )
    whole, left = len(log), epochs / len(log)
    plain = train.model_copy(update={"warmup_steps": 0})
    document["train"] |= {
        "epochs": epochs,
        "lr": train.lr * lr_factor(whole - epochs, whole, plain),
        "warmup_steps": 0,
    }
    if train.lr_schedule == "steps":
        moved = [1 - (1 - share) / left for share in train.lr_milestones]
        document["train"]["lr_milestones"] = later = [share for share in moved if share > 0]
        document["train"]["lr_schedule"] = "steps" if later else "constant"
    document["sparsity"]["target"] = zeros / total
