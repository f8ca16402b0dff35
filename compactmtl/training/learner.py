"""What is trained: the network, phase after phase, step by step."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import parametrize

from compactmtl.errors import NonFiniteError, UsageError
from compactmtl.multitask.evaluate import Batches, evaluate
from compactmtl.multitask.losses import outputs, task_losses
from compactmtl.multitask.task import Task, trained
from compactmtl.multitask.weightings import make_weighting
from compactmtl.multitask.weightings.surgery import GradientSurgery
from compactmtl.overparam import (
    backward_leaves,
    contract,
    expand,
    has_factors,
    is_expanded,
    m_reach,
    minibatch_step,
    task_parameters,
    task_step,
    training_step,
)
from compactmtl.overparam.buffers import untouched_buffers
from compactmtl.recipe import Recipe
from compactmtl.sparsity import ChannelGroups, census, groups
from compactmtl.training.by_gradient import backward_by_gradient
from compactmtl.training.learning_rate import lr_factor
from compactmtl.training.micro_batch import MicroBatch, micro_batches, micro_batches_here
from compactmtl.training.optimizers import MAIN, Optimizers
from compactmtl.training.penalty import Penalty, check_alive
from compactmtl.training.phases import Phase, after_stop, is_overparam, is_sparse
from compactmtl.training.placement import as_run, laid_out
from compactmtl.training.processes import Processes
from compactmtl.training.reporter import Reporter
from compactmtl.training.settings import frobenius_of
from compactmtl.training.teacher import Teacher

_DIVERGED = "lower train.lr, or set or lower train.clip_norm"


class Learner:
    """The network with its optimisers and its sparsity schedule.

    Contraction changes the parameters and therefore starts the optimiser afresh; the learning rate
    goes on by the step.

    Where a batch is worked on in parts, by several processes or one micro-batch after the other, a
    step is that of the whole batch, but that batch norm sees the parts; its running statistics are
    those of the first part.

    Raises:
        UsageError: The network is expanded already.
        PatternError: A pattern of the recipe's ``sparsity`` matches no layer.
        RecipeError: Processes that cannot share ``train.accumulate`` out, or a share of zero groups
            out of reach.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: nn.Module,
        tasks: Mapping[str, Task],
        fabric: Fabric,
        steps_per_epoch: int,
        reporter: Reporter,
        measure: Callable[[], float] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        if is_expanded(model):
            raise UsageError(
                "the network is expanded already, expected plain layers",
                hint="the recipe's [overparam] expands it; contract it before",
            )
        self.recipe, self.model, self.fabric = recipe, model, fabric
        self.processes = Processes(fabric)
        self._num_micro = micro_batches_here(recipe.train.accumulate, self.processes.num)
        self.scored = tasks
        self.tasks = trained(tasks)
        self.reporter = reporter
        factors = {name: recipe.tasks[name].weight for name in self.tasks}
        made = make_weighting(recipe.weighting.name, factors, recipe.weighting.args)
        self.weighting = made.to(fabric.device)
        self.steps_per_epoch = steps_per_epoch
        self.num_steps = steps_per_epoch * recipe.train.epochs
        self._epoch, self.global_step = 0, 0
        self.kept = "nothing was saved"
        """What there is to go on with if the next step fails."""
        self.phase: Phase | None = None
        self.penalty = None
        if recipe.sparsity is not None:
            self.penalty = Penalty(recipe, self.num_steps, measure)
        self.teacher = teacher
        self.groups = self._find_groups()  # a wrong pattern shows now, not epochs later
        if self.penalty is not None:
            self.penalty.check_share(self.groups)

    def enter(self, phase: Phase, epoch: int) -> None:
        """Make the network and its optimisers what the phase of an epoch (from 0) needs."""
        self._epoch, self.global_step = epoch, epoch * self.steps_per_epoch
        expanded = is_expanded(self.model)
        if is_overparam(phase) and not expanded:
            self._expand()
        elif not is_overparam(phase) and expanded:
            contract(self.model.eval())  # batch norm between branches is folded as it is in eval
        if self.phase is None or is_expanded(self.model) != expanded:
            self.set_up()
        if self.penalty is not None and self.penalty.schedule.stopped:
            phase = after_stop(phase)  # the target was reached before the phase was over
        if self.penalty is not None and phase in ("debias", "overparam-debias"):
            self.penalty.end(self.optimizers.main, self.groups)
        self.phase = phase
        self.module.train()

    def enter_again(self, epoch: int, main_steps: int) -> None:
        """Go on in an epoch, after so many of its main steps; phase and network were restored."""
        self._epoch, self.global_step = epoch, epoch * self.steps_per_epoch + main_steps
        self.module.train()

    def set_up(self) -> None:
        """Build optimisers for the network as it is, and hand both to Fabric."""
        self.groups = self._find_groups()
        further = list(self.weighting.parameters())
        self.optimizers = Optimizers(
            self.recipe, self.model, self.groups, further, tasks=tuple(self.tasks)
        )
        if self.penalty is not None:
            self.penalty.limit(self.optimizers.main, self.groups)
        module = as_run(self.model, self.recipe.train)
        self.module, *wrapped = self.fabric.setup(module, *self.optimizers.values())
        self._wrapped = dict(zip(self.optimizers, wrapped, strict=True))
        self.processes.copy_first(list(self.model.state_dict().values()))

    def main_step(self, images: Tensor, targets: Mapping[str, Any]) -> dict[str, float]:
        """Train everything, or everything but m, by the weighted sum of all losses.

        Returns:
            The loss of each task, unweighted.

        Raises:
            NonFiniteError: A loss is NaN or Inf; the weights are still those before the step.
        """
        self._set_lr()
        if self.penalty is not None and is_sparse(self.phase):
            self.penalty.step(self.optimizers.main, self.groups, self.global_step, self._place())
        self.optimizers.main.zero_grad(set_to_none=True)
        if self.optimizers.iterative == "minibatch":
            losses = self._backward_by_task(images, targets)
        else:
            with self._one_contraction():
                if isinstance(self.weighting, GradientSurgery):
                    losses = self._backward_by_gradient(images, targets, self.weighting)
                elif self._in_parts:
                    losses = self._backward_in_parts(self.tasks, images, targets)
                else:
                    losses = self._backward(self.tasks, self.weighting, images, targets)
            self._average(self.model.parameters(), self.weighting.parameters())
        self._step(MAIN)
        self.global_step += 1
        return losses

    def task_step(self, task: str, images: Tensor, targets: Mapping[str, Any]) -> dict[str, float]:
        """Train one task's m by that task's loss; nothing else moves.

        Raises:
            NonFiniteError: The loss is NaN or Inf.

        Source: paper A, section 2.3, first of the two processes of each epoch.
        """
        assert self.recipe.overparam is not None
        self._set_lr()
        optimizer, coef = self.optimizers[task], frobenius_of(self.recipe.overparam)
        optimizer.zero_grad(set_to_none=True)
        with task_step(self.module, task, optimizer, frobenius=coef, scaler=self._scaler):
            # One loss has nothing to be weighed against, and its own step trains no weight.
            only = {task: self.tasks[task]}
            if self._in_parts:
                losses = self._backward_in_parts(only, images, targets)
            else:
                losses = self._backward(only, lambda losses: losses[task], images, targets)
        self._average(task_parameters(self.model, task))
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
                # Several processes have a part of the split each: torchmetrics adds up what they
                # counted.
                metrics = evaluate(self._predicted, batches, self.scored)
        except NonFiniteError as error:
            raise NonFiniteError(
                f"{error.message}, in validation after {self._place()}", hint=_DIVERGED
            ) from error
        self.module.train()
        return metrics

    def record(self) -> dict[str, Any]:
        """Return what the log keeps of an epoch beside losses and metrics."""
        record: dict[str, Any] = {"lr": self.optimizers.lr, "lam": self.optimizers.main.lam}
        if self.weighting.logged:
            record["weights"] = self.weighting.weights()
        if self.penalty is not None:
            record |= self.penalty.record(self.optimizers.main, self.groups)
        record["sparsity"] = None  # nothing is to become sparse, or not yet
        if self.groups:
            counts = census(self.model, self.groups).to_dict()
            names = (
                *("zero_groups", "num_groups", "zero_filters", "num_filters"),
                *("zero_weights", "num_weights"),
            )
            record["sparsity"] = {name: counts[name] for name in names}
        if is_expanded(self.model):
            record["m_reach"] = m_reach(self.model)
        return record

    def check_weights(self) -> None:
        """Look at every weight once, before it is saved.

        Raises:
            NonFiniteError: One is NaN or Inf.
            TrainingError: Every penalised group is zero, or not the same ones in all processes.
        """
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise NonFiniteError(
                    f"`{name}` holds NaN or Inf after {self._place()}", hint=_DIVERGED
                )
        if is_sparse(self.phase):
            check_alive(self.optimizers.main, self.groups, self._place())
        self.processes.check_zeros(self.groups, self._place())

    def _find_groups(self) -> Sequence[ChannelGroups]:
        section, model = self.recipe.sparsity, self.recipe.model
        if section is None:
            return ()
        if is_expanded(self.model) and not self._sparse_while_expanded:
            return ()
        return groups(
            self.model,
            layers=_first(section.layers, model.encoder),
            reads=_first(section.reads, model.head_reads),
            keep=section.keep,
            by=section.by,
        )

    @property
    def _sparse_while_expanded(self) -> bool:
        overparam, sparsity = self.recipe.overparam, self.recipe.sparsity
        return overparam is not None and sparsity is not None and overparam.until > sparsity.start

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
            grouped=section.grouped,
        )
        for name, why in report.left_dense.items():
            self.reporter.message(f"`{name}` stays as it is: {why}")

    def _set_lr(self) -> None:
        self.optimizers.scale_lr(lr_factor(self.global_step, self.num_steps, self.recipe.train))

    def _one_contraction(self) -> AbstractContextManager[None]:
        """Contract once per step in the overparameterised phase; do nothing in the others."""
        section = self.recipe.overparam
        if not is_overparam(self.phase) or section is None or not has_factors(self.model):
            return nullcontext()
        return training_step(
            self.module,
            self.optimizers.main,
            frobenius=frobenius_of(section),
            freeze_m=self.optimizers.iterative == "subset",
            scaler=self._scaler,
        )

    def _backward(
        self,
        tasks: Mapping[str, Task],
        combine: Callable[[Mapping[str, Tensor]], Tensor],
        images: Tensor,
        targets: Mapping[str, Any],
    ) -> dict[str, float]:
        raws = self._outputs(images, targets)
        losses = task_losses(tasks, raws, targets)
        values = self._checked(losses)
        total = combine(losses)
        if self.teacher is not None and tasks is self.tasks:
            total = total + self.teacher.loss(images, raws)
        self.fabric.backward(total)
        return values

    def _backward_in_parts(
        self, tasks: Mapping[str, Task], images: Tensor, targets: Mapping[str, Any]
    ) -> dict[str, float]:
        """Run this process's micro-batches backward, one by one; return the whole batch's losses.

        The total's slope in each loss is that at the whole batch's losses, which a process with one
        micro-batch knows after its forward pass. With several the slopes must not depend on them.
        """
        found = images.new_zeros(len(tasks), dtype=torch.float32)
        slopes = None if self._num_micro == 1 else self._slopes(tasks, found)
        for number, micro in enumerate(self._divided(tasks, images, targets)):
            with untouched_buffers(self.model) if number else nullcontext():
                raws = self._outputs(micro.images, micro.targets)
                losses = task_losses(tasks, raws, micro.targets)
                parts = torch.stack([micro.part(name, loss) for name, loss in losses.items()])
                found = found + parts.detach()
                if slopes is None:
                    slopes = self._slopes(tasks, self._of_all(found))
                total = (slopes.to(parts) * parts).sum()
                if self.teacher is not None and tasks is self.tasks:
                    total = total + micro.share * self.teacher.loss(micro.images, raws)
                self.fabric.backward(total)
        found = self._of_all(found)
        values = self._checked(dict(zip(tasks, found, strict=True)))
        if tasks is self.tasks and list(self.weighting.parameters()):
            self.fabric.backward(self.weighting(dict(zip(tasks, found, strict=True))))
        return values

    def _average(self, *trained: Iterable[nn.Parameter]) -> None:
        """Give all processes the mean of their gradients, and the buffers of the first."""
        if self.processes.num > 1:
            self.processes.average_gradients(list(itertools.chain(*trained)))
            self.processes.copy_first(list(self.model.buffers()))

    def _divided(
        self, tasks: Mapping[str, Task], images: Tensor, targets: Mapping[str, Any]
    ) -> list[MicroBatch]:
        return micro_batches(images, targets, tasks, self._num_micro, self.processes)

    def _of_all(self, losses: Tensor) -> Tensor:
        """Return the whole batch's losses (T,) from what this process found, see ``MicroBatch``."""
        return self.processes.total(losses) / self.processes.num

    def _slopes(self, tasks: Mapping[str, Task], losses: Tensor) -> Tensor:
        """Return d total / d loss (T,), the same in all processes; of a single task's step 1."""
        if tasks is not self.tasks:
            return torch.ones_like(losses)
        leaf = losses.detach().clone().requires_grad_()
        total = self.weighting(dict(zip(tasks, leaf, strict=True)))
        (slopes,) = torch.autograd.grad(total, [leaf])
        self.processes.copy_first([slopes])  # some weights are drawn at random
        return slopes

    def _backward_by_gradient(
        self, images: Tensor, targets: Mapping[str, Any], weighting: GradientSurgery
    ) -> dict[str, float]:
        losses = task_losses(self.tasks, self._outputs(images, targets), targets)
        values = self._checked(losses)
        try:
            leaves = backward_leaves(self.model)
            backward_by_gradient(losses, leaves, weighting, self.fabric.backward)
        except NonFiniteError as error:
            raise NonFiniteError(f"{error.message} in {self._place()}", hint=_DIVERGED) from error
        return values

    def _backward_by_task(self, images: Tensor, targets: Mapping[str, Any]) -> dict[str, float]:
        """Train each task's m by its own loss; leave the gradients of all losses to the rest."""
        section = self.recipe.overparam
        assert section is not None
        with minibatch_step(
            self.module,
            self.optimizers.main,
            frobenius=frobenius_of(section),
            scaler=self._scaler,
        ) as of_task:
            losses = task_losses(self.tasks, self._outputs(images, targets), targets)
            whole = losses
            if self._in_parts:
                (micro,) = self._divided(self.tasks, images, targets)
                losses = {name: micro.part(name, loss) for name, loss in losses.items()}
                mine = torch.stack([loss.detach() for loss in losses.values()])
                whole = dict(zip(losses, self._of_all(mine), strict=True))
            values = self._checked(whole)
            leaves = {name: loss.detach().requires_grad_() for name, loss in whole.items()}
            total = self.weighting(leaves)
            shares = torch.stack(
                torch.autograd.grad(total, list(leaves.values()), retain_graph=True)
            )
            self.processes.copy_first([shares])  # some weights are drawn at random
            self.fabric.backward(total)  # trains what the weighting itself learns
            for (name, loss), share in zip(losses.items(), shares, strict=True):
                with of_task(name):
                    self.fabric.backward(share * loss, retain_graph=True)
        self._average(self.model.parameters(), self.weighting.parameters())
        for name in self.tasks:
            self._step(name)
            # The main optimiser holds m too, and must not step it.
            self.optimizers[name].zero_grad(set_to_none=True)
        return values

    def _outputs(self, images: Tensor, targets: Mapping[str, Any]) -> Mapping[str, Any]:
        raws: Mapping[str, Any] = outputs(self.module, laid_out(images, self.recipe.train), targets)
        return raws

    def _predicted(self, images: Tensor) -> Mapping[str, Any]:
        raws: Mapping[str, Any] = self.module(laid_out(images, self.recipe.train))
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
        return f"epoch {epoch}, step {step} (lr {self.optimizers.lr:.3g}); {self.kept}"

    @property
    def _in_parts(self) -> bool:
        """Whether a batch is worked on in parts, here or in several processes."""
        return self._num_micro > 1 or self.processes.num > 1

    @property
    def _scaler(self) -> GradScaler | None:
        scaler: GradScaler | None = getattr(self.fabric.strategy.precision, "scaler", None)
        return scaler


def _first(*patterns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the first that is given; None leaves it to the network."""
    return next((given for given in patterns if given is not None), None)
