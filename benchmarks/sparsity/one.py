"""One cell: train, score on the test split, compile, export."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from plan import Cell, subjects
from torch import nn

from compactmtl.compact import CompactModel
from compactmtl.compiler import compress
from compactmtl.compiler.folder import write_folder
from compactmtl.compiler.source import load_source
from compactmtl.data import DATASETS
from compactmtl.data.batch import loader
from compactmtl.export import export
from compactmtl.multitask.evaluate import evaluate
from compactmtl.parts import find_part
from compactmtl.recipe import Recipe
from compactmtl.study.derived import derived
from compactmtl.training import NullReporter, finetune, fit
from compactmtl.training.assemble import load_split
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
        test = scored(result.model, recipe, None)
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


def scored(model: nn.Module, recipe: Recipe, names: list[str] | None) -> Any:
    """Return the metrics on the test split."""
    declared = find_part(recipe.data.name, DATASETS, "data set").declared_tasks
    tasks = {name: declared(**recipe.data.args)[name] for name in recipe.tasks}
    data = load_split(recipe, "test", NullReporter())
    batches = loader(
        data, tasks, batch_size=recipe.data.batch_size, shuffle=False,
        generator=torch.Generator().manual_seed(0), num_workers=0,
    )  # fmt: skip

    def predict(images: torch.Tensor) -> Mapping[str, Any]:
        with torch.no_grad():
            outputs = model.eval()(images)
        if isinstance(outputs, Mapping):
            return outputs
        assert names is not None
        return dict(zip(names, outputs, strict=True))

    return evaluate(predict, batches, tasks)
