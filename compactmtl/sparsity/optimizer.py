"""AdamW followed by the exact proximal step of the group penalty."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.optimizer import ParamsT

from compactmtl.errors import UsageError
from compactmtl.sparsity.groups import ChannelGroups
from compactmtl.sparsity.prox import group_prox, group_pull

METRICS = ("corrected", "reference")


class ProximalAdamW(AdamW):
    """Minimise loss + lam * sum_g sqrt(n_g) ||W_g|| with exact zeros.

    A step is AdamW's own (torch's code, decoupled decay included), then the group proximal
    operator. Adam moves x by -lr * m_hat / d with d = sqrt(v / (1 - b2^t)) + eps, which is a step
    in the metric D / lr; the proximal step in that metric is

        argmin_z 1/(2 lr) sum d_i (z_i - x_i)^2 + lam sqrt(n_g) ||z||
            = group_prox(x, d, lr * lam * sqrt(n_g)).

    So a zero group stays zero while the rms of m_hat over it is at most lam: lam has the unit of a
    gradient's rms. With ``lam = 0`` this is ``torch.optim.AdamW``, to the bit.

    Args:
        params: As for any optimiser; must hold every parameter of ``groups``.
        groups: From ``compactmtl.sparsity.groups``.
        lam: Strength of the penalty, at least 0; settable at any time, or per parameter group.
        lr: Learning rate.
        betas: Adam's decay rates.
        eps: Added to the metric.
        weight_decay: Decoupled decay.
        metric: "corrected" is Adam's metric. "reference" is sqrt(v) + eps without bias correction,
            as the authors' code has it: thresholds are 1/sqrt(1-b2^t) too strong (32 times at step
            1, 1.3 times at 1000).

    Raises:
        UsageError: A setting is out of range, or a group's parameter is not in ``params``.

    Source: Upadhyay et al., arXiv 2308.12114, algorithm 1, where equation (5) is replaced by the
        exact operator.
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
    ) -> None:
        if metric not in METRICS:
            raise UsageError(f"metric is `{metric}`, expected one of: {', '.join(METRICS)}")
        _check_lam(lam)
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        self.defaults["lam"] = lam
        for param_group in self.param_groups:
            param_group.setdefault("lam", lam)
        held = {id(p) for param_group in self.param_groups for p in param_group["params"]}
        for group in groups:
            if id(group.parameter) not in held:
                raise UsageError(
                    f"the optimiser does not hold the weight of `{group.name}`",
                    hint="build groups and optimiser from the same network, after contract",
                )
        # Containers, changed in place and never replaced: wrappers such as Fabric's share them.
        self._channel_groups = tuple(groups)
        self._live: dict[str, Tensor] = {}
        self._options: dict[str, Any] = {"metric": metric, "max_zero_groups": None}

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
        """No step makes more groups zero than this; None: no limit.

        Where the penalty would zero more, those with the smallest ||d x|| / mu are zeroed and the
        others are spared its proximal step this time. This stops the cascade in which groups that
        lost their input lose their gradient, and die all at once. Nothing waits for the device.
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
        """Keep every group that is zero now at exactly zero for ever, whatever its gradient.

        The mask is part of ``state_dict``. Called again, it takes in new zeros.
        """
        for group in self._channel_groups:
            self._live[group.name] = (group.rows(group.parameter) != 0).any(dim=1)

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch overloads it by closure
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Do one AdamW step and one proximal step; return the closure's loss, if there is one."""
        loss = cast("float | None", super().step(closure))
        for group in self._channel_groups if self._live else ():
            rows = group.rows(group.parameter)
            live = self._live[group.name].unsqueeze(1)
            _write(group, torch.where(live, rows, torch.zeros_like(rows)))
        stepped = self._stepped()
        spared = self._spared(stepped)
        for index, (group, settings) in enumerate(stepped):
            rows = group.rows(group.parameter)
            shrunk = group_prox(rows, self._metric(group, settings), _mu(group, settings))
            if spared is not None:
                shrunk = torch.where(spared[index], rows, shrunk)
            _write(group, shrunk)
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
        expected = {group.name: group.num_groups for group in self._channel_groups}
        got = {name: mask.numel() for name, mask in live.items()}
        if live and got != expected:
            raise UsageError(
                f"the optimiser state has a mask for groups {got}, expected {expected}",
                hint="build the optimiser with the groups it was saved with",
            )
        strengths = [param_group["lam"] for param_group in self.param_groups]
        super().load_state_dict(state_dict)
        for param_group, lam in zip(self.param_groups, strengths, strict=True):
            param_group.setdefault("lam", lam)
        self.max_zero_groups = state_dict.get("max_zero_groups")
        self._live.clear()
        if live:
            for group in self._channel_groups:
                mask = live[group.name].to(device=group.parameter.device, dtype=torch.bool)
                self._live[group.name] = mask

    def _stepped(self) -> list[tuple[ChannelGroups, dict[str, Any]]]:
        """Return the groups with a penalty that AdamW has just stepped, with their settings."""
        settings = {
            id(p): param_group for param_group in self.param_groups for p in param_group["params"]
        }
        pairs = [(group, settings[id(group.parameter)]) for group in self._channel_groups]
        return [
            (group, chosen)
            for group, chosen in pairs
            if chosen["lam"] > 0.0 and group.parameter.grad is not None
        ]

    def _metric(self, group: ChannelGroups, settings: dict[str, Any]) -> Tensor:
        """Return Adam's denominator d as rows."""
        state = self.state[group.parameter]
        metric: Tensor = group.rows(state["exp_avg_sq"]).sqrt()
        if self._options["metric"] == "corrected":
            # AdamW keeps the step count on the CPU: nothing waits for the device.
            metric = metric / (1 - settings["betas"][1] ** float(state["step"])) ** 0.5
        return metric + cast(float, settings["eps"])

    def _spared(self, stepped: list[tuple[ChannelGroups, dict[str, Any]]]) -> list[Tensor] | None:
        """Return per kernel the groups that ``max_zero_groups`` saves, (num_groups, 1)."""
        limit = self.max_zero_groups
        if limit is None or not stepped:
            return None
        scores = [
            group_pull(group.rows(group.parameter), self._metric(group, settings))
            / _mu(group, settings)
            for group, settings in stepped
        ]
        device = scores[0].device
        order = torch.cat([score.to(device) for score in scores]).flatten().argsort(stable=True)
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(order.numel(), device=device)
        parts = torch.split(ranks.unsqueeze(1), [score.shape[0] for score in scores])
        return [
            (score <= 1) & (part.to(score.device) >= limit)
            for score, part in zip(scores, parts, strict=True)
        ]


def _mu(group: ChannelGroups, settings: dict[str, Any]) -> float:
    return cast(float, settings["lr"] * settings["lam"] * group.scale)


def _write(group: ChannelGroups, rows: Tensor) -> None:
    group.parameter.copy_(group.unrows(rows))


def _check_lam(lam: float) -> None:
    if not 0.0 <= lam < float("inf"):
        raise UsageError(f"lam (={lam}) must be finite and at least 0")
