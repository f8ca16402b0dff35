"""The verb `compress`."""

import functools
import os
from pathlib import Path

from compactmtl.cli import compress_options as options
from compactmtl.cli.console import console
from compactmtl.cli.finetune_step import finetune_step
from compactmtl.cli.options import DEFAULT_FOLDER, DataFolder, Debug, Json, Quiet


def compress(
    checkpoint: options.File,
    prune_zero_channels: options.Prune = False,
    out: options.OutFolder = DEFAULT_FOLDER,
    objective: options.Objective = None,
    no_gather: options.NoGather = False,
    table: options.Table = None,
    variant: options.Variant = None,
    variants: options.Variants = False,
    tasks: options.Tasks = None,
    threshold: options.Threshold = None,
    part: options.Part = None,
    finetune: options.Finetune = None,
    finetune_run: options.FinetuneRun = None,
    fresh: options.Fresh = False,
    rule: options.Rules = None,
    static: options.Static = False,
    model: options.Model = None,
    inputs: options.Inputs = None,
    outputs: options.Outputs = None,
    recipe: options.Recipe = None,
    data: DataFolder = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compile a checkpoint into a compact model, exactly.

    Contracts overparameterised layers; with --prune-zero-channels removes every channel that no
    output depends on. Proves that the outputs are the same, in float64 and float32, before it
    writes model.pt2, dense.pt2 (the dense twin), plan, report and a few inputs. Without
    --prune-zero-channels it says what could be removed.

    Examples:
      compactmtl compress runs/rooms-demo-20260102-030405-0/ckpt.pt --prune-zero-channels
      compactmtl compress ckpt.pt --prune-zero-channels --variants
      compactmtl compress ckpt.pt --tasks seg,depth --threshold 1e-4
      compactmtl compress ckpt.pt --prune-zero-channels --finetune recipe.toml
      compactmtl compress weights.pt --model mynet:build --input image=1x3x384x640
      --outputs seg,depth --prune-zero-channels --rule mynet:MyRule
      compactmtl compress weights.pt --model mynet:build --input image=1x3x384x640 --part encoder
    """
    if data is not None:
        os.environ["COMPACTMTL_DATA"] = str(data)

    from compactmtl.cli.compress_write import write  # the library imports torch
    from compactmtl.compiler import compress as run_compiler
    from compactmtl.compiler import variants as plans
    from compactmtl.compiler.folder import check_folder
    from compactmtl.compiler.foreign import import_rules
    from compactmtl.compiler.source import load_source
    from compactmtl.models.recipes import load

    implied = (objective, variant, tasks, threshold)
    prune = prune_zero_channels or any(x is not None for x in implied)
    given = {"table": table is not None, "finetune": finetune is not None, "variants": variants}
    options.check_removal(prune, no_gather=no_gather, **given)
    options.check_finetune(finetune, finetune_run, fresh=fresh, variants=variants)
    aim = plans.choose_objective(objective, table, variant)
    check_folder(out)
    with console.steps("compress") as step:
        step("load", 2)
        own = None if recipe is None else load(str(recipe), ())
        source = load_source(checkpoint, model=model, recipe=own, inputs=inputs or (), part=part)
        compile_with = functools.partial(
            run_compiler,
            source.model,
            source.example_inputs,
            prune_zero_channels=prune,
            gather=not no_gather,
            keep_outputs=options.words(tasks),
            threshold=threshold,
            part=part,
            rules=import_rules(rule or ()),
            dynamic=not static,
            images=source.images,
            input_names=source.input_names,
            output_names=options.words(outputs),
            tasks=source.tasks,
            parent=source.parent,
            recipe=source.recipe,
            progress=lambda name, left: step(name, left + 1),
        )
        compact = compile_with(objective=aim)
        others = plans.variants(compact, compile_with, table) if variants else {}
    further = None
    if finetune is not None:
        further = functools.partial(
            finetune_step, recipe=finetune, runs=Path("runs"), run_dir=finetune_run, fresh=fresh
        )
    write(compact, others, source, out, part=part, further=further)
