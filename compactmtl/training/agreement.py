"""Whether the processes that are to train together are about to do the same."""

import hashlib
import json

import torch

from compactmtl.checkpoint import Checkpoint
from compactmtl.errors import DataError, UsageError
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import Parts
from compactmtl.training.processes import Processes


def check_agreement(
    processes: Processes, recipe: Recipe, parts: Parts, state: Checkpoint | None
) -> None:
    """Refuse processes that see other data, another recipe or another checkpoint.

    Raises:
        DataError: Their splits differ in size.
        UsageError: They differ in something else; the message says what each has.
    """
    document = json.dumps(recipe.to_dict(), sort_keys=True).encode()
    position = None if state is None else (state.epoch, state.position.get("step", 0))
    processes.check_same(
        {
            "the version of torch": torch.__version__,
            "the recipe's fingerprint": hashlib.sha256(document).hexdigest()[:12],
            "the checkpoint's epoch and step": position,
            "the number of weights": sum(value.numel() for value in parts.model.parameters()),
        },
        UsageError,
        "start all with the same command, installation and run folder",
    )
    processes.check_same(
        {
            "the number of training images": len(parts.train_data),
            "the number of validation images": len(parts.val_data),
        },
        DataError,
        "every machine needs the whole data set: each process reads its own part of it",
    )
