"""AdamW followed by the exact proximal step of the penalty."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.optimizer import ParamsT

from compactmtl.errors import UsageError
from compactmtl.sparsity.channel_groups import ChannelGroups
from compactmtl.sparsity.metric import (
    COUNT,
    kernel_square,
    metric_rows,
    root_mean_square,
    take_in,
)
from compactmtl.sparsity.shrink import Stepped, shrink

METRICS = ("corrected", "reference")


class ProximalAdamW(AdamW):
    """Minimise loss + lam * sum_g ((1 - a) sqrt(n_g) ||W_g|| + a ||W_g||_1) with exact zeros.

    A step is AdamW's own (torch's code, decay included), then the proximal operator of
    the penalty. Adam moves x by -lr * m_hat / d with d = sqrt(v / (1 - b2^t)) + eps, which is a
    step in the metric D / lr; for a = 0 the proximal step in that metric is

        argmin_z 1/(2 lr) sum d_i (z_i - x_i)^2 + lam sqrt(n_g) ||z||
            = group_prox(x, d, lr * lam * sqrt(n_g)).

    So a zero group stays zero while the rms of m_hat over it is at most lam: lam has the unit of a
    gradient's rms. The threshold lr * lam falls with the learning rate. With ``lam = 0`` this is
    ``torch.optim.AdamW``, to the bit.

    The kernel of a layer that is expanded as (U * m) V is made sparse through V, with one number
    as metric per group: V_c <- max(0, 1 - mu / (d_c ||W[:, c]||)) V_c, the exact operator on
    W[:, c] in the metric d_c; see ``compactmtl.sparsity.metric``.

    Args:
        params: As for any optimiser; must hold every parameter of ``groups``.
        groups: From ``compactmtl.sparsity.groups``; by="weight" makes the penalty plain l1.
        lam: Strength of the penalty, at least 0; settable at any time, or per parameter group.
        lr: Learning rate.
        betas: Adam's decay rates.
        eps: Added to the metric.
        weight_decay: Decay of the weights.
        decoupled: Decay apart from Adam's step; False: as part of the gradient, which is
            ``torch.optim.Adam``.
        metric: "corrected" is Adam's metric. "reference" is sqrt(v) + eps without bias correction,
            as the authors' code has it: thresholds are 1/sqrt(1-b2^t) too strong (32 times at step
            1, 1.3 times at 1000).
        l1_share: a, between 0 and 1: above 0 single weights of live groups become zero too
            (sparse-group).
        foreach: As for AdamW; the proximal step always works on many kernels at once.

    Raises:
        UsageError: A setting is out of range, a group's parameter is not in ``params`` or is there
            twice, or ``l1_share`` meets a factored kernel.

    Source: Upadhyay et al., arXiv 2308.12114, algorithm 1, where equation (5) is replaced by the
        exact operator; sparse-group: Simon et al. (2013).
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        groups: Sequence[ChannelGroups],
        lam: float,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        metric: str = "corrected",
        l1_share: float = 0.0,
        decoupled: bool = True,
        foreach: bool | None = None,
    ) -> None:
        if metric not in METRICS:
            raise UsageError(f"metric is `{metric}`, expected one of: {', '.join(METRICS)}")
        if not 0.0 <= l1_share < 1.0:
            raise UsageError(
                f"l1_share (={l1_share}) must be at least 0 and below 1",
                hint='for the l1 norm alone take groups(..., by="weight")',
            )
        _check_lam(lam)
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=foreach
        )
        self.defaults["lam"] = lam
        for param_group in self.param_groups:
            param_group.setdefault("lam", lam)
        _check_groups(groups, _settings_of(self.param_groups), l1_share)
        # Containers, changed in place and never replaced: wrappers such as Fabric's share them.
        self._channel_groups = tuple(groups)
        self._live: dict[str, Tensor] = {}
        self._options: dict[str, Any] = {
            "metric": metric,
            "l1_share": l1_share,
            "max_zero_groups": None,
            "decoupled": decoupled,
        }
        self._set_decay()

    @property
    def lam(self) -> float:
        """Strength of the penalty (that of the first parameter group)."""
        return cast(float, self.param_groups[0]["lam"])

    @lam.setter
    def lam(self, lam: float) -> None:
        _check_lam(lam)
        for param_group in self.param_groups:
            param_group["lam"] = lam

    @property
    def max_zero_groups(self) -> int | None:
        """No step makes more groups zero than this, nor the last one of a layer; None: no limit.

        Where the penalty would zero more, those with the smallest ||d x|| / mu are zeroed and the
        others are spared its proximal step this time. This stops the cascade in which groups that
        lost their input lose their gradient, and die all at once; and a layer without a live group
        would cut the network in two. Nothing waits for the device.
        """
        return cast("int | None", self._options["max_zero_groups"])

    @max_zero_groups.setter
    def max_zero_groups(self, limit: int | None) -> None:
        if limit is not None and limit < 0:
            raise UsageError(f"max_zero_groups (={limit}) must be at least 0, or None")
        self._options["max_zero_groups"] = limit

    @property
    def frozen(self) -> bool:
        """Whether ``freeze_zeros`` was called."""
        return bool(self._live)

    @torch.no_grad()
    def freeze_zeros(self) -> None:
        """Keep all that is zero now at exactly zero for ever, whatever its gradient.

        That is every zero group, and where ``l1_share`` is above 0 every zero weight. The mask is
        part of ``state_dict``. Called again, it takes in new zeros.
        """
        by_weight = self._options["l1_share"] > 0
        for group in self._channel_groups:
            live = group.parameter != 0 if by_weight else ~group.is_zero()
            self._live[group.name] = live.detach()

    @torch.no_grad()
    def gradient_rms(self) -> dict[str, Tensor]:
        """Return per layer the median over its live groups of the gradient's rms, as Adam sees it.

        It is the unit of lam: a group can die where lam is of that size. NaN where no step was
        taken or no group lives.
        """
        found = {}
        for group in self._channel_groups:
            state = self.state[group.parameter]
            settings = _settings_of(self.param_groups)[id(group.parameter)]
            value = group.parameter.new_full((), float("nan"), dtype=torch.float32)
            if COUNT in state or (group.factors is None and "exp_avg_sq" in state):
                root = root_mean_square(group, state, settings, "corrected").float()
                rms = root.square().mean(dim=1).sqrt()
                value = torch.nanmedian(rms.masked_fill(group.is_zero(), float("nan")))
            found[group.name] = value
        return found

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch overloads it by closure
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Do one AdamW step and one proximal step; return the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        settings = _settings_of(self.param_groups)
        moving = [group for group in self._channel_groups if group.parameter.grad is not None]
        factored = [group for group in moving if group.factors is not None]
        squares = [kernel_square(group) for group in factored]
        super().step()
        for group, square in zip(factored, squares, strict=True):
            beta2 = settings[id(group.parameter)]["betas"][1]
            take_in(square, self.state[group.parameter], beta2)
        for group in self._channel_groups if self._live else ():
            group.clear(~self._live[group.name])
        stepped = [
            self._stepped(group, chosen)
            for group in moving
            if (chosen := settings[id(group.parameter)])["lam"] > 0.0
        ]
        shrink(stepped, self.max_zero_groups)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return AdamW's state, each group's lam, the limit, and the mask of frozen groups."""
        return {
            **super().state_dict(),
            "live_groups": {name: mask.clone() for name, mask in self._live.items()},
            "max_zero_groups": self.max_zero_groups,
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state of this class, or of a plain AdamW: lam stays, and nothing is frozen.

        Raises:
            UsageError: The mask is of other layers.
        """
        live = state_dict.get("live_groups", {})
        by_weight = self._options["l1_share"] > 0
        expected = {
            group.name: group.parameter.numel() if by_weight else group.num_groups
            for group in self._channel_groups
        }
        got = {name: mask.numel() for name, mask in live.items()}
        if live and got != expected:
            raise UsageError(
                f"the optimiser state has a mask for groups {got}, expected {expected}",
                hint="build the optimiser with the groups it was saved with",
            )
        strengths = [param_group["lam"] for param_group in self.param_groups]
        super().load_state_dict(state_dict)
        self._set_decay()  # AdamW takes over no state with coupled decay
        for param_group, lam in zip(self.param_groups, strengths, strict=True):
            param_group.setdefault("lam", lam)
        self.max_zero_groups = state_dict.get("max_zero_groups")
        self._live.clear()
        if live:
            for group in self._channel_groups:
                mask = live[group.name].to(device=group.parameter.device, dtype=torch.bool)
                self._live[group.name] = mask

    def _set_decay(self) -> None:
        for param_group in self.param_groups:
            param_group["decoupled_weight_decay"] = self._options["decoupled"]

    def _stepped(self, group: ChannelGroups, settings: dict[str, Any]) -> Stepped:
        def metric(part: slice) -> Tensor:
            state, kind = self.state[group.parameter], self._options["metric"]
            return metric_rows(group, state, settings, kind, part)

        step = cast(float, settings["lr"] * settings["lam"])
        return Stepped(group, metric, step, self._options["l1_share"])


def _settings_of(param_groups: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the settings of each parameter by its id."""
    return {id(p): cast(dict[str, Any], each) for each in param_groups for p in each["params"]}


def _check_groups(
    groups: Sequence[ChannelGroups], held: dict[int, dict[str, Any]], l1_share: float
) -> None:
    """Check that every kernel is there, once, and that the penalty is defined on it."""
    seen: dict[int, str] = {}
    for group in groups:
        if id(group.parameter) not in held:
            raise UsageError(
                f"the optimiser does not hold the weight of `{group.name}`",
                hint="build groups and optimiser from the same network, after contract",
            )
        if id(group.parameter) in seen:
            raise UsageError(
                f"`{group.name}` is in `groups` twice, so it would be penalised twice",
                hint="leave it out of one of the lists: groups(..., keep=...)",
            )
        if l1_share > 0 and group.factors is not None:
            raise UsageError(
                f"l1_share (={l1_share}) needs plain kernels, and `{group.name}` is expanded",
                hint="contract(model) before the sparse phase, or set l1_share to 0",
            )
        seen[id(group.parameter)] = group.name


def _check_lam(lam: float) -> None:
    if not 0.0 <= lam < float("inf"):
        raise UsageError(f"lam (={lam}) must be finite and at least 0")
