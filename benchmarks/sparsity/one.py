"""One cell: train, score on the test split, compile, export."""

import time
from pathlib import Path
from typing import Any

from plan import Cell, subjects
from scored import scored

from compactmtl.compact import CompactModel
from compactmtl.compiler import compress
from compactmtl.compiler.folder import write_folder
from compactmtl.compiler.source import load_source
from compactmtl.export import export
from compactmtl.recipe import Recipe
from compactmtl.study.derived import derived
from compactmtl.training import finetune, fit
from compactmtl.training.logs import read_log


def folder_of(cell: Cell, root: Path) -> Path:
    """Return where a cell's run and its compact folder lie."""
    return root / cell.study / cell.system / f"seed-{cell.seed}"


def run_one(cell: Cell, root: Path) -> dict[str, Any]:
    """Return all that is recorded of a cell but its time in a runtime."""
    folder, subject = folder_of(cell, root), subjects(cell.study)[cell.system]
    runs = {
        label: folder_of(Cell(cell.study, label, cell.seed), root) / "run"
        for label in subject.needs
    }
    recipe = derived(subject, runs, device="cpu").model_copy(update={"seed": cell.seed})
    run = folder / "run"
    resume = (run / "ckpt.pt").is_file()
    started = time.process_time()
    if subject.control == "widths":
        compact = compiled(runs[subject.of], recipe)
        compact = finetune(compact, recipe, fresh=True, run_dir=run, resume=resume).compact
        names = compact.manifest.output_names
        taken = time.process_time() - started
        test = scored(compact.module, recipe, names)
    else:
        result = fit(recipe, run_dir=run, resume=resume)
        taken = time.process_time() - started
        test = scored(result.model, recipe)
        compact = compiled(run, recipe)
    write_folder(compact, folder / "compact", images=[], origin="noise")
    export(compact, folder / "compact" / "model.onnx")
    log, report = read_log(run), compact.report
    return {
        "train_cpu_s": None if resume else taken,
        "epochs": len(log),
        "test": test,
        "penalised": log[-1]["sparsity"],
        "census": None if subject.control == "widths" else report.census,
        "macs": report.after.macs,
        "macs_before": report.before.macs,
        "num_params": report.after.num_params,
        "size": list(compact.manifest.inputs[0].shape[2:]),
    }


def compiled(run: Path, recipe: Recipe, **options: Any) -> CompactModel:
    """Compile a run's checkpoint; ``recipe`` says that our own names in it may be imported."""
    source = load_source(run, recipe=recipe)
    return compress(
        source.model, source.example_inputs, images=source.images[:1], tasks=source.tasks,
        parent=source.parent, recipe=source.recipe, **options,
    )  # fmt: skip
