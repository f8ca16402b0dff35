"""What `compress` prints of training: what is left out of the model, what fine-tuning gained."""

from collections.abc import Mapping, Sequence
from typing import Any

from compactmtl.cli.console import console

MAX_ROWS = 8


def show_dropped(modules: Sequence[Mapping[str, Any]], report: object) -> None:
    """Print the modules that do nothing in eval mode, the largest first, stochastic depth as one.

    Args:
        modules: ``dropped_modules`` of the report.
        report: Where the others are listed.
    """
    idle = [row["kind"] for row in modules if not row["num_params"]]
    heavy = sorted(
        (row for row in modules if row["num_params"]), key=lambda row: -row["num_params"]
    )
    for row in heavy[:MAX_ROWS]:
        console.info(
            f"`{row['module']}` ({row['kind']}, {row['num_params']:,} parameters) is for training "
            "only and is not in the compact model"
        )
    if len(heavy) > MAX_ROWS:
        console.info(f"... and {len(heavy) - MAX_ROWS} more, see {report}")
    if idle:
        kinds = ", ".join(f"{idle.count(kind)} {kind}" for kind in dict.fromkeys(idle))
        console.info(f"modules that do nothing in eval mode are not in it either: {kinds}")


def show_finetuned(finetuned: Mapping[str, Any] | None) -> None:
    """Print the validation metrics before and after further training."""
    if finetuned is None:
        return
    rows = [
        [task, metric, value, finetuned["after"][task].get(metric)]
        for task, metrics in finetuned["before"].items()
        for metric, value in metrics.items()
    ]
    how = "from first weights" if finetuned.get("fresh") else "further"
    title = f"trained {how} for {finetuned['epochs']} epochs"
    console.table(title, ["task", "metric", "compiled", f"trained {how}"], rows)
