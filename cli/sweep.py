"""The verb `sweep`."""

import os
from pathlib import Path

from compactmtl.cli import sweep_options as options
from compactmtl.cli.console import console
from compactmtl.cli.options import DataFolder, Debug, Json, Quiet, Settings
from compactmtl.errors import TrainingError


def sweep(
    recipe: options.RecipeName,
    settings: Settings = None,
    *,
    lam: options.Lams,
    tasks: options.Tasks = None,
    combinations: options.Combinations = False,
    seeds: options.Seeds = 3,
    out: options.OutFolder = Path("sweep"),
    jobs: options.Jobs = None,
    device: options.Device = None,
    ray: options.Ray = None,
    cpus: options.Cpus = None,
    seconds: options.Seconds = 10.0,
    data: DataFolder = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train over lambdas, task sets and seeds; compile and measure every model.

    Each run is trained, scored on the test split after its last epoch, compiled and exported, in
    processes of its own. When all are done, their models are measured in turns in ONNX Runtime,
    those of a seed together, with a dense twin of every task set. Prints metrics, zero groups, zero
    filters, removed channels, MACs, parameters and CPU time against lambda. Writes sweep.json and
    sweep.html; `compactmtl report DIR` draws the page again.

    Before the first run ten steps of each task set are done: what a run would be refused for is
    said now, and how long all takes.

    --lam takes the place of the recipe's own strength or target, and [check] does not apply. A run
    that fails is named, the others go on, and the exit code is 17. A sweep that was stopped goes on
    with the same command; give more seeds, lambdas or task sets to extend it.

    With --ray the runs are spread over a Ray cluster (pip install "compactmtl[cluster]"): every
    machine sees the folder, the data and your code under the same paths, and this one is part of
    the cluster. What a machine leaves undone when it dies, another one goes on with. Models are
    measured here.

    Examples:
      compactmtl sweep rooms-sparse --lam 0,1e-3,1e-2,1e-1 --seeds 3 --jobs 2
      compactmtl sweep rooms-sparse --lam 0,1e-2 --tasks seg --tasks depth --tasks seg,depth
      compactmtl sweep nyud-sparse --lam 0,1e-6,1e-5 --combinations --data DIR --ray head:6379
    """
    from compactmtl.cli.sweep_run import rehearse_grid, run
    from compactmtl.cli.sweep_table import show
    from compactmtl.report.sweep import PAGE, write_page
    from compactmtl.study.grid import check_folder, claim_folder, make_grid, parse_lams

    if data is not None:
        os.environ["COMPACTMTL_DATA"] = str(data.absolute())
    base, grid = make_grid(
        recipe,
        lams=parse_lams(lam),
        task_sets=tasks or (),
        every_combination=combinations,
        settings=settings or (),
    )
    do = options.choose_where(jobs=jobs, devices=device, ray=ray, cpus=cpus)
    check_folder(out, base)
    if ray is None:  # a cluster's machines have what this one may lack
        rehearse_grid(grid, out, seeds=seeds, device=device[0] if device else "auto")
    claim_folder(out, base)
    document, failed = run(grid, out, do, name=base.name, seeds=seeds, seconds=seconds)
    page = write_page(out / PAGE, document)
    show(document)
    for error in failed.values():
        console.error(error.message, error.hint)
    console.info(f"wrote {page}")
    console.result(document)
    return TrainingError.exit_code if failed else 0
