"""The options of `export` that say in which precision a file computes."""

from collections.abc import Iterable
from typing import Annotated

import typer

from compactmtl.errors import UsageError

Precision = Annotated[
    str, typer.Option("--precision", metavar="NAME", help="Number format: fp32, fp16 or int8.")
]
Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="DATA",
        help="Real samples for int8: a data set, a folder of images, or a pack (.npz) "
        "[default: the 8 stored validation images].",
    ),
]
MaxDrop = Annotated[
    list[str] | None,
    typer.Option(
        "--max-drop",
        metavar="TASK=X",
        help="How much a task's error may grow by fp16 or int8: that of its own metric where there "
        "are labelled images (mIoU 0.71 to 0.70: seg=0.01), else its relative RMS. The layers that "
        "cost most stay in fp32. May be repeated.",
    ),
]


def parse_drops(texts: Iterable[str]) -> dict[str, float]:
    """Read task and limit of each ``--max-drop``.

    Raises:
        UsageError: One is not of the form TASK=X, or a task is named twice.
    """
    drops: dict[str, float] = {}
    for text in texts:
        task, _, limit = text.partition("=")
        try:
            value = float(limit)
        except ValueError as error:
            raise UsageError(
                f"--max-drop `{text}`: expected TASK=X", hint="as in --max-drop seg=0.01"
            ) from error
        if task in drops:
            raise UsageError(f"--max-drop names `{task}` twice", hint="give each task one limit")
        drops[task] = value
    return drops
