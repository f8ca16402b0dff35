"""What `compress --finetune` does between compiling and writing."""

from pathlib import Path
from typing import TYPE_CHECKING

from compactmtl.cli.console import console
from compactmtl.errors import StoppedError

if TYPE_CHECKING:
    from compactmtl.compact import CompactModel


def finetune_step(
    compact: "CompactModel",
    recipe: str,
    *,
    runs: Path,
    run_dir: Path | None,
    fresh: bool = False,
) -> "CompactModel":
    """Train a compact model further; return it with its new weights.

    Args:
        compact: What was compiled.
        recipe: A recipe's name, or its TOML file.
        runs: Where a new run folder is made.
        run_dir: This run folder instead: a new one, or one to go on with.
        fresh: From first weights.
    """
    from compactmtl.cli.train_progress import TrainProgress  # the library imports torch
    from compactmtl.models.recipes import load
    from compactmtl.training import finetune

    progress = TrainProgress()
    try:
        with progress:
            done = finetune(
                compact,
                load(recipe, ()),
                fresh=fresh,
                root=runs,
                run_dir=run_dir,
                resume=run_dir is not None and (run_dir / "ckpt.pt").is_file(),
                reporter=progress,
            )
    except StoppedError as error:
        error.hint = "go on with the same command"
        if progress.info is not None and progress.info.is_resumable:
            error.hint += f" and --finetune-run {progress.info.folder}"
        raise
    except KeyboardInterrupt:
        if progress.info is not None and progress.info.is_resumable:
            console.warn(
                "the last checkpoint is kept, go on with the same command and "
                f"--finetune-run {progress.info.folder}"
            )
        raise
    return done.compact
