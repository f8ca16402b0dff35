"""Optional loggers, beside the run's own CSV and JSON."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning_fabric.loggers.logger import Logger

from compactmtl.errors import MissingExtraError, PartError
from compactmtl.parts import nearest


def make_loggers(loggers: Sequence[str | Logger], folder: Path) -> list[Logger]:
    """Return loggers that write into the run folder and need no network.

    Args:
        loggers: "tensorboard", "wandb", "mlflow", or any logger of Fabric's.
        folder: The run folder.

    Raises:
        PartError: No logger of this name.
        MissingExtraError: Its package is not installed.
    """
    return [_make(item, folder) if isinstance(item, str) else item for item in loggers]


def _make(name: str, folder: Path) -> Logger:
    if name not in LOGGERS:
        raise PartError(
            f"no logger called `{name}`{nearest(name, LOGGERS)}",
            hint=f"there are: {', '.join(LOGGERS)}",
        )
    try:
        return LOGGERS[name](folder)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"logger `{name}` needs a package that is not installed: {error}",
            hint=f'pip install "compactmtl[{name}]"',
        ) from error


def _tensorboard(folder: Path) -> Logger:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    logger = TensorBoardLogger(folder, name="", version="tensorboard")
    _ = logger.experiment  # the package is imported here, not in the first epoch
    return logger


def _wandb(folder: Path) -> Logger:
    from pytorch_lightning.loggers import WandbLogger

    # Without a word from the user nothing leaves the machine, and nobody is asked for a key.
    offline = os.environ.get("WANDB_MODE", "offline") != "online"
    return WandbLogger(
        project="compactmtl", name=folder.name, id=folder.name, save_dir=folder, offline=offline
    )


def _mlflow(folder: Path) -> Logger:
    from pytorch_lightning.loggers import MLFlowLogger

    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder.resolve()}/mlflow.db")
    return MLFlowLogger(experiment_name="compactmtl", run_name=folder.name, tracking_uri=uri)


LOGGERS: dict[str, Callable[[Path], Logger]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
