"""What is trained: the network, phase after phase, step by step."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import parametrize

from compactmtl.errors import NonFiniteError, UsageError
from compactmtl.multitask.evaluate import Batches, evaluate
from compactmtl.multitask.losses import task_losses
from compactmtl.multitask.task import Task
from compactmtl.multitask.weightings import make_weighting
from compactmtl.overparam import (
    contract,
    expand,
    has_factors,
    is_expanded,
    m_reach,
    minibatch_step,
    task_step,
    training_step,
)
from compactmtl.recipe import Recipe
from compactmtl.sparsity import ChannelGroups, census, group_sparsity, groups, make_schedule
from compactmtl.training.learning_rate import lr_factor
from compactmtl.training.optimizers import MAIN, Optimizers
from compactmtl.training.phases import Phase, whole_epochs
from compactmtl.training.placement import as_run, laid_out
from compactmtl.training.reporter import Reporter

_DIVERGED = "lower train.lr, or set or lower train.clip_norm"


class Learner:
    """The network with its optimisers and its sparsity schedule.

    Contraction changes the parameters and therefore starts the optimiser afresh; the learning rate
    goes on by the step.

    Raises:
        UsageError: The network is expanded already.
        PatternError: A pattern of the recipe's ``sparsity`` matches no layer.
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
        factors = {name: section.weight for name, section in recipe.tasks.items()}
        made = make_weighting(recipe.weighting.name, factors, recipe.weighting.args)
        self.weighting = made.to(fabric.device)
        self.steps_per_epoch = steps_per_epoch
        self.num_steps = steps_per_epoch * recipe.train.epochs
        self._epoch, self.global_step = 0, 0
        self.phase: Phase | None = None
        self.schedule = None
        if recipe.sparsity is not None:
            self.schedule = make_schedule(whole_epochs(recipe.sparsity, recipe.train.epochs))
        self.groups = self._find_groups()  # a wrong pattern shows now, not epochs later

    def enter(self, phase: Phase, epoch: int) -> None:
        """Make the network and its optimisers what the phase of an epoch (from 0) needs."""
        self._epoch, self.global_step = epoch, epoch * self.steps_per_epoch
        expanded = is_expanded(self.model)
        if phase == "overparam" and not expanded:
            self._expand()
        elif phase != "overparam" and expanded:
            contract(self.model.eval())  # batch norm between branches is folded as it is in eval
        if self.phase is None or is_expanded(self.model) != expanded:
            self.set_up()
        if phase == "debias" or (phase == "sparse" and self.optimizers.main.frozen):
            phase = "debias"  # the target was reached before the phase was over
            self._freeze_zeros()
        self.phase = phase
        self.module.train()

    def set_up(self) -> None:
        """Build optimisers for the network as it is, and hand both to Fabric."""
        self.groups = self._find_groups()
        further = list(self.weighting.parameters())
        self.optimizers = Optimizers(self.recipe, self.model, self.groups, further)
        self._limit_zeros()
        module = as_run(self.model, self.recipe.train)
        self.module, *wrapped = self.fabric.setup(module, *self.optimizers.values())
        self._wrapped = dict(zip(self.optimizers, wrapped, strict=True))

    def main_step(self, images: Tensor, targets: Mapping[str, Tensor]) -> dict[str, float]:
        """Train everything, or everything but m, by the weighted sum of all losses.

        Returns:
            The loss of each task, unweighted.

        Raises:
            NonFiniteError: A loss is NaN or Inf; the weights are still those before the step.
        """
        self._set_lr()
        self._set_lam()
        self.optimizers.main.zero_grad(set_to_none=True)
        if self.optimizers.iterative == "minibatch":
            losses = self._backward_by_task(images, targets)
        else:
            with self._one_contraction():
                losses = self._backward(self.tasks, self.weighting, images, targets)
        self._step(MAIN)
        self.global_step += 1
        return losses

    def task_step(
        self, task: str, images: Tensor, targets: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Train one task's m by that task's loss; nothing else moves.

        Raises:
            NonFiniteError: The loss is NaN or Inf.

        Source: paper A, section 2.3, first of the two processes of each epoch.
        """
        assert self.recipe.overparam is not None
        self._set_lr()
        optimizer, coef = self.optimizers[task], self.recipe.overparam.frobenius
        optimizer.zero_grad(set_to_none=True)
        with task_step(self.module, task, optimizer, frobenius=coef, scaler=self._scaler):
            # One loss has nothing to be weighed against, and its own step trains no weight.
            losses = self._backward(
                {task: self.tasks[task]}, lambda losses: losses[task], images, targets
            )
        self._step(task)
        optimizer.zero_grad(
            set_to_none=True
        )  # the main optimiser holds m too, and must not step it
        return losses

    def evaluate(self, batches: Batches) -> dict[str, dict[str, float]]:
        """Return the metrics of every task in eval mode.

        Raises:
            NonFiniteError: An output is NaN or Inf.
        """
        self.module.eval()
        try:
            # Expanded layers contract once, not once per batch; and sizes and modes of their own
            # are not worth compiling.
            with parametrize.cached(), torch.compiler.set_stance("force_eager"):
                metrics = evaluate(self._outputs, batches, self.tasks)
        except NonFiniteError as error:
            raise NonFiniteError(
                f"{error.message}, in validation after {self._place()}", hint=_DIVERGED
            ) from error
        self.module.train()
        return metrics

    def record(self) -> dict[str, Any]:
        """Return what the log keeps of an epoch beside losses and metrics."""
        record: dict[str, Any] = {"lr": self.optimizers.lr, "lam": self.optimizers.main.lam}
        if self.recipe.weighting.name != "fixed":
            record["weights"] = self.weighting.weights()
        record["sparsity"] = None  # nothing is to become sparse, or not yet
        if self.groups:
            counts = census(self.model, self.groups).to_dict()
            names = ("zero_groups", "num_groups", "zero_filters", "num_filters")
            record["sparsity"] = {name: counts[name] for name in names}
        if is_expanded(self.model):
            record["m_reach"] = m_reach(self.model)
        return record

    def check_finite(self) -> None:
        """Look at every weight once.

        Raises:
            NonFiniteError: One is NaN or Inf.
        """
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise NonFiniteError(
                    f"`{name}` holds NaN or Inf after {self._place()}", hint=_DIVERGED
                )

    def _find_groups(self) -> Sequence[ChannelGroups]:
        section, model = self.recipe.sparsity, self.recipe.model
        if section is None or is_expanded(self.model):
            return ()
        return groups(
            self.model,
            layers=_first(section.layers, model.encoder),
            reads=_first(section.reads, model.head_reads),
            keep=section.keep,
        )

    def _expand(self) -> None:
        section = self.recipe.overparam
        assert section is not None
        report = expand(
            self.model,
            method=section.method,
            tasks=list(self.tasks),
            layers=_first(section.layers, self.recipe.model.encoder),
            ratio=section.ratio,
            init=section.init,
        )
        for name, why in report.left_dense.items():
            self.reporter.message(f"`{name}` stays as it is: {why}")

    def _set_lr(self) -> None:
        self.optimizers.scale_lr(lr_factor(self.global_step, self.num_steps, self.recipe.train))

    def _set_lam(self) -> None:
        main = self.optimizers.main
        if self.schedule is None or self.phase != "sparse" or main.frozen:
            return
        main.lam = self.schedule.lam_at(
            self.global_step / self.num_steps, group_sparsity(self.groups)
        )
        self._limit_zeros()
        if self.schedule.stopped:
            self._freeze_zeros()

    def _limit_zeros(self) -> None:
        """Pass on how many groups may be zero by now: a lam far too large kills none early."""
        if self.schedule is not None:
            num_groups = sum(group.num_groups for group in self.groups)
            self.optimizers.main.max_zero_groups = self.schedule.max_zero_groups(num_groups)

    def _freeze_zeros(self) -> None:
        self.optimizers.main.lam = 0.0
        if not self.optimizers.main.frozen:
            self.optimizers.main.freeze_zeros()

    def _one_contraction(self) -> AbstractContextManager[None]:
        """Contract once per step in the overparameterised phase; do nothing in the others."""
        section = self.recipe.overparam
        if self.phase != "overparam" or section is None or not has_factors(self.model):
            return nullcontext()
        return training_step(
            self.module,
            self.optimizers.main,
            frobenius=section.frobenius,
            freeze_m=self.optimizers.iterative == "subset",
            scaler=self._scaler,
        )

    def _backward(
        self,
        tasks: Mapping[str, Task],
        combine: Callable[[Mapping[str, Tensor]], Tensor],
        images: Tensor,
        targets: Mapping[str, Tensor],
    ) -> dict[str, float]:
        losses = task_losses(tasks, self._outputs(images), targets)
        values = self._checked(losses)
        self.fabric.backward(combine(losses))
        return values

    def _backward_by_task(self, images: Tensor, targets: Mapping[str, Tensor]) -> dict[str, float]:
        """Train each task's m by its own loss; leave the gradients of all losses to the rest."""
        section = self.recipe.overparam
        assert section is not None
        with minibatch_step(
            self.module,
            self.optimizers.main,
            frobenius=section.frobenius,
            scaler=self._scaler,
        ) as of_task:
            losses = task_losses(self.tasks, self._outputs(images), targets)
            values = self._checked(losses)
            leaves = {name: loss.detach().requires_grad_() for name, loss in losses.items()}
            total = self.weighting(leaves)
            shares = torch.autograd.grad(total, list(leaves.values()), retain_graph=True)
            self.fabric.backward(total)  # trains what the weighting itself learns
            for (name, loss), share in zip(losses.items(), shares, strict=True):
                with of_task(name):
                    self.fabric.backward(share * loss, retain_graph=True)
        for name in self.tasks:
            self._step(name)
            # The main optimiser holds m too, and must not step it.
            self.optimizers[name].zero_grad(set_to_none=True)
        return values

    def _outputs(self, images: Tensor) -> Mapping[str, Tensor]:
        raws: Mapping[str, Tensor] = self.module(laid_out(images, self.recipe.train))
        return raws

    def _checked(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        values = torch.stack([loss.detach() for loss in losses.values()]).tolist()
        for name, value in zip(losses, values, strict=True):
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"loss of `{name}` is {value} in {self._place()}", hint=_DIVERGED
                )
        return dict(zip(losses, values, strict=True))

    def _step(self, name: str) -> None:
        clip = self.recipe.train.clip_norm
        if clip is not None:
            norm = self.fabric.clip_gradients(
                self.module, self._wrapped[name], max_norm=clip, error_if_nonfinite=False
            )
            # A gradient scaler skips such a step itself, and tries a smaller scale.
            if norm is not None and not torch.isfinite(norm) and self._scaler is None:
                raise NonFiniteError(
                    f"the gradient's norm is {norm.item()} in {self._place()}", hint=_DIVERGED
                )
        self._wrapped[name].step()

    def _place(self) -> str:
        epoch = self._epoch + 1
        step = min(self.global_step - self._epoch * self.steps_per_epoch + 1, self.steps_per_epoch)
        kept = f"the checkpoint of epoch {epoch - 1} is kept" if epoch > 1 else "nothing was saved"
        return f"epoch {epoch}, step {step} (lr {self.optimizers.lr:.3g}); {kept}"

    @property
    def _scaler(self) -> GradScaler | None:
        scaler: GradScaler | None = getattr(self.fabric.strategy.precision, "scaler", None)
        return scaler


def _first(*patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the first that is given; None leaves it to the network."""
    return next((given for given in patterns if given is not None), None)
