"""Exact proximal operators under a diagonal metric: l1, group norm, and both together.

Shape suffixes: G groups, n entries of a group.
"""

import torch
from torch import Tensor

NUM_ITERATIONS = {torch.float32: 4, torch.float64: 8}
"""Three and six reach the type's accuracy for metrics of ten decades; the rest is in reserve."""

BLOCK = 1 << 18
"""Entries that are worked on at once on a CPU: a few vectors of so many stay in its cache, which
makes the iterations four times as fast."""


def l1_prox(x: Tensor, metric: Tensor, mu: float | Tensor) -> Tensor:
    """Return argmin_z 0.5 * sum d_i (z_i - x_i)^2 + mu * sum |z_i|.

    That is sign(x_i) max(|x_i| - mu / d_i, 0), exactly 0.0 where |x_i| <= mu / d_i.

    Args:
        x: Any shape.
        metric: The diagonal metric, positive, of the same shape.
        mu: Threshold, at least 0; a scalar.

    Returns:
        A new tensor of x's shape and dtype. NaN stays NaN.

    Source: research on Upadhyay et al., arXiv 2308.12114: the l1 baseline of its table 3.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    wide = x.to(dtype)
    reach = mu / metric.to(dtype)
    return (wide - torch.maximum(torch.minimum(wide, reach), -reach)).to(x.dtype)


def group_prox(x_Gn: Tensor, metric_Gn: Tensor, mu: float | Tensor) -> Tensor:
    """Return argmin_z 0.5 * sum d_i (z_i - x_i)^2 + mu * ||z|| for each row x with metric d.

    A row is exactly 0.0 if ||d x|| <= mu. Otherwise z_i = x_i theta / (theta + w_i) with
    w_i = mu / d_i, where theta = ||z|| solves ||s|| = 1 for s_i = x_i / (theta + w_i). The secular
    form 1/||s|| - 1 is concave and increasing in theta, so Newton's method from a lower bound is
    monotone. The number of iterations is fixed: nothing waits for the device.

    Args:
        x_Gn: One group per row.
        metric_Gn: The diagonal metric, positive, of the same shape.
        mu: Threshold, at least 0; a scalar.

    Returns:
        A new tensor of x's shape and dtype. NaN stays NaN.

    Numerics:
        Half precision is computed in float32.

    Source: Upadhyay et al., arXiv 2308.12114, equation (5), which is the case d = const; the
        general operator is Yun et al. (2021), ProxGen.
    """
    if x_Gn.shape[1] == 1:
        return l1_prox(x_Gn, metric_Gn, mu)
    if x_Gn.device.type != "cpu" or x_Gn.numel() <= BLOCK:
        return _newton(x_Gn, metric_Gn, mu)
    num_rows = max(1, BLOCK // x_Gn.shape[1])
    blocks = zip(torch.split(x_Gn, num_rows), torch.split(metric_Gn, num_rows), strict=True)
    return torch.cat([_newton(x, d, mu) for x, d in blocks])


def sparse_group_prox(
    x_Gn: Tensor, metric_Gn: Tensor, mu: float | Tensor, mu_l1: float | Tensor
) -> Tensor:
    """Return argmin_z 0.5 * sum d_i (z_i - x_i)^2 + mu_l1 * sum |z_i| + mu * ||z|| for each row.

    It is ``group_prox`` behind ``l1_prox``: z has the signs of s = l1_prox(x), so a subgradient of
    the l1 norm at s is one at z, and the two optimality conditions add up, whatever the metric.

    Args:
        x_Gn: One group per row.
        metric_Gn: The diagonal metric, positive, of the same shape.
        mu: Threshold of the group norm, at least 0; a scalar.
        mu_l1: Threshold of the l1 norm, at least 0; a scalar.

    Returns:
        A new tensor of x's shape and dtype. NaN stays NaN.

    Source: Simon et al. (2013), A Sparse-Group Lasso, for the penalty; Yu (2013), On Decomposing
        the Proximal Map, for the order in the Euclidean metric.
    """
    return group_prox(l1_prox(x_Gn, metric_Gn, mu_l1), metric_Gn, mu)


def group_pull(x_Gn: Tensor, metric_Gn: Tensor) -> Tensor:
    """Return ||d x|| per row, (G, 1): ``group_prox`` zeroes a row if this is at most mu."""
    pulled = metric_Gn * x_Gn
    if pulled.shape[1] == 1:
        return pulled.abs()
    pull: Tensor = torch.linalg.vector_norm(pulled, dim=1, keepdim=True)
    return pull


def _newton(x_Gn: Tensor, metric_Gn: Tensor, mu: float | Tensor) -> Tensor:
    """Solve for theta and return the rows; four passes over the entries per iteration."""
    dtype = torch.promote_types(x_Gn.dtype, torch.float32)
    x, d = x_Gn.to(dtype), metric_Gn.to(dtype)
    w, norm = mu / d, group_pull(x, d)
    theta = ((norm - mu) / d.amax(dim=1, keepdim=True)).clamp_min(torch.finfo(dtype).tiny)
    shift, s = torch.empty_like(x), torch.empty_like(x)
    for _ in range(NUM_ITERATIONS[dtype]):
        torch.add(w, theta, out=shift)
        torch.div(x, shift, out=s)
        length = torch.linalg.vector_norm(s, dim=1, keepdim=True)
        slope = s.square_().div_(shift).sum(dim=1, keepdim=True)
        theta = theta + (length - 1) * length.square() / slope
    dead = norm <= mu
    torch.add(w, theta.masked_fill(dead, 1.0), out=shift)
    z = torch.div(theta.masked_fill_(dead, 0.0), shift, out=s).mul_(x)
    return z.add_(0.0).to(x_Gn.dtype)  # which makes -0.0 0.0
