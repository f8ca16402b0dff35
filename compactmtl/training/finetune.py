"""Train a compact model further, or from first weights of its own, in a run folder of its own."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric.loggers.logger import Logger
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compactmtl.compact import CompactModel
from compactmtl.data.batch import loader
from compactmtl.data.dataset import MultiTaskDataset
from compactmtl.errors import RecipeError, UsageError
from compactmtl.multitask.evaluate import evaluate
from compactmtl.multitask.task import Task
from compactmtl.recipe import Recipe
from compactmtl.training.assemble import assemble, initial_network
from compactmtl.training.fit import FitResult, Metrics, fit
from compactmtl.training.fresh import start_afresh
from compactmtl.training.logs import finite
from compactmtl.training.processes import launched_processes
from compactmtl.training.reporter import NullReporter, Reporter

FURTHER, AFRESH = "-finetune", "-fresh"
"""Behind the recipe's name: its checkpoint holds a compact model, not the recipe's network."""


@dataclass(frozen=True)
class Finetuned:
    """A compact model that was trained further."""

    compact: CompactModel
    """The same structure and dense twin, other weights; its report says so."""
    before: Metrics
    """Validation metrics per task of the compact model that came in."""
    result: FitResult
    """The run."""


def finetune(
    compact: CompactModel,
    recipe: Recipe,
    *,
    fresh: bool = False,
    root: Path = Path("runs"),
    run_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    loggers: Sequence[str | Logger] = (),
    train_data: MultiTaskDataset | None = None,
    val_data: MultiTaskDataset | None = None,
    tasks: Mapping[str, Task] | None = None,
) -> Finetuned:
    """Train a compact model further with the recipe's data, tasks and [train] section.

    The structure stays. The compact model takes the place of the network that the recipe names;
    the run folder has its own recipe, log and checkpoint, and can be resumed by calling this again
    with the same compact model.

    With ``fresh`` it is trained from scratch: what would a dense network of these widths have
    learned, without sparsity? ``start_afresh`` says how its first weights are drawn.

    Args:
        compact: What ``compress`` returned or a compact folder holds; it is not changed.
        recipe: Without [overparam], [sparsity], ``train.init`` and ``check.zero_groups``, which
            mean nothing here; its tasks are the model's outputs.
        fresh: Begin with first weights by the recipe's seed, not with those that were compiled; the
            recipe's network must then be the one that was compiled.
        root: A new folder ``<recipe>-finetune-<time>-<seed>`` is made here.
        run_dir: This new folder instead; with ``resume`` the folder of the run to go on with.
        resume: Go on where ``run_dir`` was saved last.
        reporter: As for ``fit``.
        loggers: As for ``fit``.
        train_data: Used instead of the recipe's.
        val_data: Used instead of the recipe's.
        tasks: Used instead of the recipe's; same names.

    Raises:
        RecipeError: The recipe asks for what cannot be done to a compact model.
        UsageError: The model takes several inputs, or another size than the images have.
        WeightsError: ``fresh``, and the recipe's network is another one.
        CompactMTLError: As ``fit``.
    """
    _check(compact, recipe, fresh=fresh)
    suffix = AFRESH if fresh else FURTHER
    recipe = recipe.model_copy(update={"name": recipe.name + suffix})
    reporter = NullReporter() if reporter is None else reporter
    module = copy.deepcopy(compact.module)
    named = module.register_forward_hook(_name_outputs(compact.manifest.output_names))
    parts = assemble(
        recipe, model=module, train_data=train_data, val_data=val_data, tasks=tasks,
        reporter=reporter,
    )  # fmt: skip
    _check_images(compact, recipe, parts.val_data)
    before = _metrics(module, parts.val_data, parts.tasks, recipe)
    if fresh:
        start_afresh(module, compact.plan["parameters"], initial_network(recipe, parts.tasks))
    result = fit(
        recipe, root=root, run_dir=run_dir, resume=resume, reporter=reporter, loggers=loggers,
        model=module, train_data=parts.train_data, val_data=parts.val_data, tasks=parts.tasks,
    )  # fmt: skip
    named.remove()
    module.to("cpu").eval()
    report = dataclasses.replace(
        compact.report,
        finetuned={
            "recipe": recipe.to_dict(),
            "run": str(result.run_dir),
            "epochs": recipe.train.epochs,
            "fresh": fresh,
            "before": finite(before),
            "after": finite(result.metrics),
        },
        notes=[
            *compact.report.notes,
            f"compiled exactly, then trained {'from first weights' if fresh else 'further'} for "
            f"{recipe.train.epochs} epochs: what was verified are the weights before",
        ],
    )
    trained = dataclasses.replace(compact, module=module, report=report)
    return Finetuned(trained, before, result)


def _check(compact: CompactModel, recipe: Recipe, *, fresh: bool) -> None:
    """Refuse what cannot be honoured."""
    meaningless = {
        "overparam": recipe.overparam is not None,
        "sparsity": recipe.sparsity is not None,
        "train.init": recipe.train.init is not None,
        "check.zero_groups": recipe.check is not None and recipe.check.zero_groups is not None,
    }
    for key, is_set in meaningless.items():
        if is_set:
            raise RecipeError(
                f"recipe `{recipe.name}` sets `{key}`, which means nothing to a compact model: its "
                "channels and its first weights are those it has",
                hint=f"fine-tune with a recipe without {key}",
            )
    if launched_processes() > 1:
        raise UsageError(
            f"a compact model is trained further by one process, not by {launched_processes()}",
            hint="it is a plain module: train it under DistributedDataParallel in your own loop",
        )
    if fresh and recipe.model.pretrained is not None:
        raise RecipeError(
            f"recipe `{recipe.name}` sets `model.pretrained`, and --fresh draws first weights",
            hint="take a recipe without it",
        )
    outputs = compact.manifest.output_names
    if set(recipe.tasks) != set(outputs):
        raise RecipeError(
            f"recipe `{recipe.name}` has the tasks {', '.join(recipe.tasks)}, the compact model "
            f"has the outputs {', '.join(outputs)}",
            hint="every output needs its task: one that is not trained would drift with the others",
        )
    if len(compact.manifest.inputs) != 1:
        raise UsageError(
            f"the compact model takes {len(compact.manifest.inputs)} inputs, the trainer feeds one",
            hint="train compact.module in a loop of your own, then compact.save",
        )


def _check_images(compact: CompactModel, recipe: Recipe, data: MultiTaskDataset) -> None:
    """Refuse images or batches of another size than a compact model with fixed sizes takes."""
    spec = compact.manifest.inputs[0]
    got = (recipe.data.batch_size, *data[0][0].shape)
    sizes = list(zip(got, spec.shape, strict=False))
    if len(got) != len(spec.shape) or any(
        size != expected for axis, (size, expected) in enumerate(sizes) if axis not in spec.dynamic
    ):
        raise UsageError(
            f"the recipe's batches are {'x'.join(map(str, got))}, the compact model takes "
            f"{'x'.join(map(str, spec.shape))}, free are: "
            f"{', '.join(spec.dynamic.values()) or 'none'}",
            hint="compress without --static, or set data.batch_size and the size of the images",
        )


def _name_outputs(names: Sequence[str]) -> Callable[..., dict[str, Tensor]]:
    """Return a hook that makes a dict of whatever the network returns, without a wrapper."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], outputs: object) -> dict[str, Tensor]:
        return dict(zip(names, tree_leaves(outputs), strict=True))

    return hook


@torch.no_grad()
def _metrics(
    module: nn.Module, data: MultiTaskDataset, tasks: Mapping[str, Task], recipe: Recipe
) -> Metrics:
    """Return the validation metrics of the model that came in."""
    batches = loader(
        data, tasks, batch_size=recipe.data.batch_size, shuffle=False,
        generator=torch.Generator().manual_seed(recipe.seed), num_workers=recipe.data.num_workers,
    )  # fmt: skip
    return evaluate(module.eval(), batches, tasks)
