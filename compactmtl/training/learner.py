"""What is trained: the network, its optimisers and the sparsity schedule, phase after phase."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import parametrize
from torch.optim import Adam, Optimizer

from compactmtl.checkpoint import Checkpoint
from compactmtl.errors import NonFiniteError, UsageError
from compactmtl.multitask.evaluate import Batches, evaluate
from compactmtl.multitask.task import Task
from compactmtl.multitask.weighting import total_loss
from compactmtl.overparam import (
    contract,
    expand,
    expand_like,
    expansion_spec,
    is_expanded,
    m_reach,
    param_groups,
    task_parameters,
    task_step,
    training_step,
)
from compactmtl.recipe import Recipe
from compactmtl.sparsity import ProximalAdamW, census, group_sparsity, groups, make_schedule
from compactmtl.training.learning_rate import lr_factor
from compactmtl.training.phases import Phase, whole_epochs
from compactmtl.training.reporter import Reporter

MAIN = "main"
"""Name of the optimiser that trains everything but the task factors."""


class Learner:
    """The state of a run between two steps.

    Every phase uses one optimiser, ``ProximalAdamW``, which is AdamW while its lam is 0, and one
    weight decay, so that phases and recipes compare fairly. Contraction changes the parameters
    and therefore starts the optimiser afresh; the learning rate goes on by the step.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        tasks: Mapping[str, Task],
        fabric: Fabric,
        steps_per_epoch: int,
        reporter: Reporter,
    ) -> None:
        if is_expanded(model):
            raise UsageError(
                "the network is expanded already, expected plain layers",
                hint="the recipe's [overparam] expands it; contract it before",
            )
        self.recipe, self.model, self.tasks, self.fabric = recipe, model, tasks, fabric
        self.reporter = reporter
        self.weights = {name: section.weight for name, section in recipe.tasks.items()}
        self.steps_per_epoch = steps_per_epoch
        self.num_steps = steps_per_epoch * recipe.train.epochs
        self.global_step = 0
        self.phase: Phase | None = None
        self.schedule = None
        if recipe.sparsity is not None:
            self.schedule = make_schedule(whole_epochs(recipe.sparsity, recipe.train.epochs))

    def enter(self, phase: Phase, epoch: int) -> None:
        """Make the network and its optimisers what the phase of an epoch (from 0) needs."""
        self.global_step = epoch * self.steps_per_epoch
        expanded = is_expanded(self.model)
        if phase == "overparam" and not expanded:
            self._expand()
        elif phase != "overparam" and expanded:
            contract(self.model)
        if self.phase is None or is_expanded(self.model) != expanded:
            self._build_optimizers()
        if phase == "debias":
            self._freeze_zeros()
        self.phase = phase
        self.module.train()

    def main_step(self, images: Tensor, targets: Mapping[str, Tensor]) -> dict[str, float]:
        """Train everything but the task factors by the weighted sum of all losses.

        Returns:
            The loss of each task, unweighted.

        Raises:
            NonFiniteError: A loss is NaN or Inf; the weights are still those before the step.
        """
        self._set_lr()
        self._set_lam()
        self.main.zero_grad(set_to_none=True)
        with self._one_contraction():
            total, losses = total_loss(self.tasks, self.weights, self.module(images), targets)
            values = self._finite(losses)
            self.fabric.backward(total)
        self._step(MAIN)
        self.global_step += 1
        return values

    def task_step(
        self, task: str, images: Tensor, targets: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Train one task's factors m by that task's loss; nothing else moves.

        Source: paper A, section 2.3, first of the two processes of each epoch.
        """
        assert self.recipe.overparam is not None
        self._set_lr()
        optimizer = self.optimizers[task]
        optimizer.zero_grad(set_to_none=True)
        with task_step(
            self.module,
            task,
            optimizer,
            frobenius=self.recipe.overparam.frobenius,
            scaler=self._scaler,
        ):
            only = {task: self.tasks[task]}
            total, losses = total_loss(only, self.weights, self.module(images), targets)
            values = self._finite(losses)
            self.fabric.backward(total)
        self._step(task)
        optimizer.zero_grad(set_to_none=True)  # the main optimiser holds these too
        return values

    @property
    def trains_task_factors(self) -> bool:
        """Whether an epoch of this phase begins with steps for the task factors."""
        return len(self.optimizers) > 1

    def evaluate(self, batches: Batches) -> dict[str, dict[str, float]]:
        """Return the metrics of every task in eval mode."""
        self.module.eval()
        with parametrize.cached():  # expanded layers contract once, not once per batch
            metrics = evaluate(self.module, batches, self.tasks)
        self.module.train()
        return metrics

    def sparsity(self) -> dict[str, int] | None:
        """Count zero groups and filters; None where no layer is to become sparse (yet)."""
        if not self.groups:
            return None
        counts = census(self.model, self.groups)
        names = ("zero_groups", "num_groups", "zero_filters", "num_filters")
        return {name: int(getattr(counts, name)) for name in names}

    def progress(self) -> dict[str, Any]:
        """Return what the log keeps of an epoch beside losses and metrics."""
        state: dict[str, Any] = {"lr": self._lr(), "lam": self.main.lam}
        state["sparsity"] = self.sparsity()
        if is_expanded(self.model):
            state["m_reach"] = m_reach(self.model)
        return state

    def check_finite(self) -> None:
        """Look at every weight once.

        Raises:
            NonFiniteError: One is NaN or Inf.
        """
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise NonFiniteError(
                    f"`{name}` holds NaN or Inf after step {self.global_step} "
                    f"(lr {self._lr():.3g}); the checkpoint of the epoch before is kept",
                    hint="lower train.lr, or set train.clip_norm",
                )

    def save_into(self, checkpoint: Checkpoint) -> None:
        """Write this state into a checkpoint."""
        checkpoint.model = dict(self.model.state_dict())
        checkpoint.expansion = expansion_spec(self.model) if is_expanded(self.model) else None
        checkpoint.optimizer = {n: dict(opt.state_dict()) for n, opt in self.optimizers.items()}
        checkpoint.schedule = {} if self.schedule is None else self.schedule.state_dict()
        checkpoint.scaler = self.fabric.strategy.precision.state_dict()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over the state of a checkpoint after its last finished epoch."""
        if checkpoint.expansion is not None:
            expand_like(self.model, checkpoint.expansion)
        self.model.load_state_dict(checkpoint.model)
        self._build_optimizers()
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(checkpoint.optimizer[name])
        if self.schedule is not None:
            self.schedule.load_state_dict(checkpoint.schedule)
        self.fabric.strategy.precision.load_state_dict(checkpoint.scaler)
        self.phase = cast(Phase, checkpoint.phase)

    def _expand(self) -> None:
        section = self.recipe.overparam
        assert section is not None
        report = expand(
            self.model,
            method=section.method,
            tasks=list(self.tasks),
            layers=_first(section.layers, self.recipe.model.encoder),
            rank_ratio=section.rank_ratio,
            init=section.init,
        )
        for name, why in report.left_dense.items():
            self.reporter.message(f"`{name}` stays as it is: {why}")

    def _build_optimizers(self) -> None:
        train, overparam, sparsity = self.recipe.train, self.recipe.overparam, self.recipe.sparsity
        expanded = is_expanded(self.model)
        m_lr = train.lr if overparam is None or overparam.m_lr is None else overparam.m_lr
        self.groups = []
        if sparsity is not None and not expanded:
            self.groups = groups(
                self.model,
                layers=_first(sparsity.layers, self.recipe.model.encoder),
                reads=_first(sparsity.reads, self.recipe.model.head_reads),
                keep=sparsity.keep,
            )
        self.main = ProximalAdamW(
            param_groups(self.model, train.lr, m_lr, train.weight_decay),
            groups=self.groups,
            lam=0.0,
            metric="corrected" if sparsity is None else sparsity.metric,
        )
        if self.schedule is not None:
            self.main.max_zero_groups = self.schedule.max_zero_groups(
                sum(group.num_groups for group in self.groups)
            )
        self.optimizers: dict[str, Optimizer] = {MAIN: self.main}
        if expanded and overparam is not None and overparam.iterative == "subset":
            for task in self.tasks:
                self.optimizers[task] = Adam(task_parameters(self.model, task), lr=m_lr)
        self._base_lr = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }
        self.module, *wrapped = self.fabric.setup(self.model, *self.optimizers.values())
        self._wrapped = dict(zip(self.optimizers, wrapped, strict=True))

    def _set_lr(self) -> None:
        factor = lr_factor(self.global_step, self.num_steps, self.recipe.train)
        for name, optimizer in self.optimizers.items():
            for group, base in zip(optimizer.param_groups, self._base_lr[name], strict=True):
                group["lr"] = base * factor

    def _set_lam(self) -> None:
        if self.schedule is None or self.phase != "sparse" or self.main.frozen:
            return
        progress = self.global_step / self.num_steps
        self.main.lam = self.schedule.lam_at(progress, group_sparsity(self.groups))
        if self.schedule.stopped:  # the target is reached before the phase is over
            self._freeze_zeros()

    def _freeze_zeros(self) -> None:
        self.main.lam = 0.0
        if not self.main.frozen:
            self.main.freeze_zeros()

    def _one_contraction(self) -> AbstractContextManager[None]:
        """Contract once per step in the overparameterised phase; do nothing in the others."""
        section = self.recipe.overparam
        if self.phase != "overparam" or section is None:
            return nullcontext()
        return training_step(
            self.module,
            self.main,
            frobenius=section.frobenius,
            freeze_m=self.trains_task_factors,
            scaler=self._scaler,
        )

    def _finite(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        values = torch.stack([loss.detach() for loss in losses.values()]).tolist()
        for name, value in zip(losses, values, strict=True):
            if not math.isfinite(value):
                step = self.global_step % self.steps_per_epoch + 1
                epoch = self.global_step // self.steps_per_epoch + 1
                raise NonFiniteError(
                    f"loss of `{name}` is {value} in epoch {epoch}, step {step} "
                    f"(lr {self._lr():.3g}); the checkpoint of the epoch before is kept",
                    hint="lower train.lr, or set train.clip_norm",
                )
        return dict(zip(losses, values, strict=True))

    def _step(self, name: str) -> None:
        optimizer = self._wrapped[name]
        clip = self.recipe.train.clip_norm
        if clip is not None:
            self.fabric.clip_gradients(self.module, optimizer, max_norm=clip)
        optimizer.step()

    def _lr(self) -> float:
        return float(self.main.param_groups[0]["lr"])

    @property
    def _scaler(self) -> GradScaler | None:
        scaler: GradScaler | None = getattr(self.fabric.strategy.precision, "scaler", None)
        return scaler


def _first(*patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the first that is given; None leaves it to the network."""
    return next((given for given in patterns if given is not None), None)
