"""Training: a recipe becomes a run folder with a checkpoint."""

from compactmtl.data.order import epoch_order
from compactmtl.training.assemble import initial_network
from compactmtl.training.finetune import Finetuned, finetune
from compactmtl.training.fit import FitResult, fit
from compactmtl.training.learning_rate import lr_factor
from compactmtl.training.processes import is_first, launched_processes
from compactmtl.training.reporter import NullReporter, Reporter, RunInfo
from compactmtl.training.run import (
    Run,
    RunSummary,
    list_runs,
    open_run,
    open_to_resume,
    read_recipe,
)
from compactmtl.training.seeding import seed_epoch, seed_everything

__all__ = [
    "Finetuned",
    "FitResult",
    "NullReporter",
    "Reporter",
    "Run",
    "RunInfo",
    "RunSummary",
    "epoch_order",
    "finetune",
    "fit",
    "initial_network",
    "is_first",
    "launched_processes",
    "list_runs",
    "lr_factor",
    "open_run",
    "open_to_resume",
    "read_recipe",
    "seed_epoch",
    "seed_everything",
]
