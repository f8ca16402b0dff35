"""Options of `compactmtl sweep`, and where they say that runs are done."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compactmtl.errors import UsageError

if TYPE_CHECKING:
    from compactmtl.cli.sweep_run import Run

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Name (see `compactmtl recipes`) or TOML file.")
]
Lams = Annotated[
    str,
    typer.Option("--lam", metavar="L1,L2,...", help="Strengths of the penalty; 0: dense."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="TASK,...",
        help="A set of the recipe's tasks; may be repeated.",
        show_default="all together",
    ),
]
Combinations = Annotated[
    bool, typer.Option("--combinations", help="Every task alone, every pair, and so on.")
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Runs of each, seeds 0, 1, ...")]
OutFolder = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the sweep.")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Runs side by side.", show_default="1")
]
Device = Annotated[
    list[str] | None,
    typer.Option("--device", metavar="NAME", help="auto, cpu, cuda:0; may be repeated."),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray", metavar="HOST:PORT", help="Run on this Ray cluster, which shares the folder."
    ),
]
Cpus = Annotated[
    int | None,
    typer.Option("--cpus", min=1, help="With --ray: cores of each run.", show_default="1"),
]
Seconds = Annotated[
    float, typer.Option("--seconds", min=0.0, help="Least time of measuring, for each seed.")
]


def choose_where(
    *, jobs: int | None, devices: list[str] | None, ray: str | None, cpus: int | None
) -> "Run":
    """Return what does the runs: processes here, or a Ray cluster.

    Raises:
        UsageError: An option of the one is given with the other.
    """
    if ray is None:
        if cpus is not None:
            raise UsageError("--cpus goes with --ray", hint="here, --jobs runs share the cores")
        from compactmtl.cli.study_progress import say_waiting
        from compactmtl.study.running import run_cells

        return lambda cells, done, failed: run_cells(
            cells,
            jobs=jobs or 1,
            devices=devices or ["auto"],
            on_done=done,
            on_failed=failed,
            on_wait=say_waiting,
        )
    if jobs is not None:
        raise UsageError(
            "--jobs does not go with --ray, which fills the cluster",
            hint="--cpus says how many cores each run takes",
        )
    if devices is not None and len(devices) > 1:
        raise UsageError("one --device goes with --ray, which gives each run a GPU of its own")
    from compactmtl.study.ray_pool import run_on_ray

    return lambda cells, done, failed: run_on_ray(
        cells,
        address=ray,
        cpus=cpus or 1,
        device=devices[0] if devices else "auto",
        on_done=done,
        on_failed=failed,
    )
