"""The verb `train`."""

import os
from pathlib import Path

from compactmtl.cli import train_options as options
from compactmtl.cli import train_target as target
from compactmtl.cli.options import DataFolder, Debug, Json, Quiet, Settings
from compactmtl.errors import StoppedError, UsageError


def train(
    recipe: options.RecipeName = None,
    tasks: options.Tasks = None,
    settings: Settings = None,
    resume: options.Resume = None,
    device: options.Device = None,
    precision: options.Precision = None,
    seed: options.Seed = None,
    init: options.Init = None,
    target_sparsity: target.TargetSparsity = None,
    target_macs: target.TargetMacs = None,
    target_latency_ms: target.TargetLatency = None,
    table: target.CostTableFile = None,
    assume: target.Assume = False,
    data: DataFolder = None,
    runs: options.Runs = Path("runs"),
    run_dir: options.RunFolder = None,
    logger: options.Logger = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train a recipe into a new folder runs/<recipe>-<time>-<seed>/.

    The folder holds recipe.toml, ckpt.pt (after every epoch, or as often as checkpoint_every says),
    log.csv, log.jsonl and run.json. SIGTERM and SIGUSR1 save and end with exit code 75. A run that
    was stopped goes on with --resume: on a CPU it ends with the very weights of a run that was
    never stopped. With torchrun several processes share out each batch.

    Examples:
      compactmtl recipes
      compactmtl train rooms-demo
      compactmtl train rooms-demo --set train.epochs=3 --set data.args.num_images=100
      compactmtl train mine.toml --seed 1 --device cuda --precision bf16-mixed --logger tensorboard
      compactmtl train rooms-sparse --target-macs 0.3
      compactmtl train sparse-finetune --init runs/rooms-dense-20260102-030405-0/ckpt.pt
      compactmtl train --resume runs/rooms-demo-20260102-030405-0
      compactmtl train rooms-demo --set train.checkpoint_every="10 minutes"
      torchrun --nproc-per-node 4 -m compactmtl train rooms-demo
    """
    chosen = {"train.precision": precision, "seed": seed, "train.init": init}
    overrides = [*(settings or ()), *(f"{k}={v}" for k, v in chosen.items() if v is not None)]
    targets = (target_sparsity, target_macs, target_latency_ms)
    new = (recipe, run_dir, tasks, *targets)
    if resume is not None and (overrides or any(setting is not None for setting in new)):
        raise UsageError(
            "--resume goes on with the run's own recipe and folder: no RECIPE, no --run-dir and no "
            "setting but --device goes with it",
            hint="start a new run for other settings; --init takes over the weights",
        )
    overrides += [] if device is None else [f"train.device={device}"]
    if data is not None:
        os.environ["COMPACTMTL_DATA"] = str(data)  # the recipe in the run folder stays portable

    from compactmtl.cli.train_end import interrupted, stopped  # the library imports torch
    from compactmtl.cli.train_progress import TrainProgress
    from compactmtl.models.recipes import load
    from compactmtl.recipe import with_tasks
    from compactmtl.training import fit, open_to_resume

    progress = TrainProgress()
    if resume is not None:
        run_dir = open_to_resume(resume).folder
        recipe = str(run_dir / "recipe.toml")
    elif recipe is None:
        raise UsageError("no RECIPE given", hint="`compactmtl recipes` lists the named ones")
    chosen_recipe = load(recipe, [*overrides, *target.target_settings(*targets)])
    if tasks is not None:
        chosen_recipe = with_tasks(chosen_recipe, tasks.split(","))
    try:
        with progress:
            result = fit(
                chosen_recipe,
                root=runs,
                run_dir=run_dir,
                resume=resume is not None,
                reporter=progress,
                loggers=logger or (),
                cost=target.cost_of(chosen_recipe, table, assume=assume),
            )
    except StoppedError as error:
        return stopped(error, progress.info)
    except KeyboardInterrupt:
        return interrupted(progress.info)
    progress.summary(result)
    return 0
