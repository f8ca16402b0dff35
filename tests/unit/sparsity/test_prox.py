"""The group operator against what defines it, in float64."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from compactmtl.sparsity import group_prox, l1_prox, sparse_group_prox
from compactmtl.sparsity.prox import BLOCK, group_pull

DOUBLE = torch.float64


def problem(seed: int, size: int, spread: float, share: float) -> tuple[Tensor, Tensor, float]:
    """Return rows x, a metric d over 2 * spread decades, and mu as a share of the median pull."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(12, size, dtype=DOUBLE, generator=generator)
    d = 10 ** (spread * (2 * torch.rand(12, size, dtype=DOUBLE, generator=generator) - 1))
    return x, d, share * group_pull(x, d).median().item()


def bisection(x: Tensor, d: Tensor, mu: float) -> Tensor:
    """Solve for theta = ||z|| by bisection of sum (d x / (d theta + mu))^2 = 1."""
    low, high = torch.zeros(x.shape[0], 1, dtype=x.dtype), x.norm(dim=1, keepdim=True)
    for _ in range(200):
        middle = (low + high) / 2
        above = (d * x / (d * middle + mu)).norm(dim=1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return torch.where(group_pull(x, d) > mu, x * d * high / (d * high + mu), torch.zeros_like(x))


def stationarity(x: Tensor, d: Tensor, mu: float, z: Tensor) -> Tensor:
    """Return, per row, the residual of d (z - x) + mu z / ||z|| relative to ||d x||; 0 if z = 0."""
    norm = z.norm(dim=1, keepdim=True)
    residual = d * (z - x) + mu * z / norm.clamp_min(1e-300)
    return torch.where(norm > 0, residual.norm(dim=1, keepdim=True) / group_pull(x, d), norm)


problems = st.builds(
    problem,
    seed=st.integers(0, 10_000),
    size=st.sampled_from([1, 2, 9, 60]),
    spread=st.sampled_from([0.0, 0.3, 1.0, 3.0, 5.0]),
    share=st.sampled_from([1e-4, 0.03, 0.5, 0.9, 1.0, 1.1, 3.0]),
)


@settings(max_examples=60, deadline=None)
@given(problem=problems)
def test_is_stationary(problem):
    x, d, mu = problem
    assert stationarity(x, d, mu, group_prox(x, d, mu)).max() < 1e-9


@settings(max_examples=40, deadline=None)
@given(problem=problems)
def test_equals_bisection(problem):
    x, d, mu = problem
    torch.testing.assert_close(group_prox(x, d, mu), bisection(x, d, mu), rtol=1e-7, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(problem=problems)
def test_is_exactly_zero_where_and_only_where_the_pull_is_at_most_mu(problem):
    x, d, mu = problem
    z, pull = group_prox(x, d, mu), group_pull(x, d).squeeze(1)
    dead, clear = pull <= mu, (pull / mu - 1).abs() > 1e-15  # a group of one divides by d instead
    assert torch.equal((z == 0).all(dim=1)[clear], dead[clear])
    dead &= clear
    assert not torch.signbit(z[dead]).any()


@settings(max_examples=40, deadline=None)
@given(problem=problems)
@example(problem=problem(159, 1, 3.0, 1.0))
def test_moreau(problem):
    # prox of mu||.|| in metric D, plus D^-1 times the projection on the dual ball in metric D^-1
    x, d, mu = problem
    z = group_prox(x, d, mu)
    y = d * (x - z)
    rounding = 4e-16 * group_pull(x, d).squeeze(1)  # of x - z, where mu is far smaller than d x
    assert (y.norm(dim=1) <= mu * (1 + 1e-9) + rounding).all()
    # At the threshold z is a remnant of rounding, with no direction.
    alive = (z.norm(dim=1) > 1e-12 * x.norm(dim=1)) & (rounding < 1e-10 * mu)
    # the projection of d x on the ball of radius mu, in metric 1/d, lies on its boundary,
    # and its normal, (d x - y) / d = z, points along y
    torch.testing.assert_close(
        y[alive].norm(dim=1), torch.full_like(y[alive][:, 0], mu), rtol=1e-7, atol=0
    )
    cosine = torch.nn.functional.cosine_similarity(y[alive], z[alive], dim=1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=1e-9, atol=0)


@settings(max_examples=40, deadline=None)
@given(problem=problems, other=st.integers(0, 10_000))
def test_is_firmly_non_expansive_in_the_metric(problem, other):
    x, d, mu = problem
    y = x + torch.randn(x.shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(other))
    moved, images = x - y, group_prox(x, d, mu) - group_prox(y, d, mu)
    inner, square = (d * images * moved).sum(dim=1), (d * images.square()).sum(dim=1)
    assert (square <= inner + 1e-9 * (d * moved.square()).sum(dim=1)).all()


@settings(max_examples=20, deadline=None)
@given(problem=problems, constant=st.sampled_from([1e-6, 0.1, 1.0, 300.0]))
def test_constant_metric_has_the_closed_form(problem, constant):
    x, _, _ = problem
    d = torch.full_like(x, constant)
    mu = 0.7 * group_pull(x, d).median().item()
    shrink = (1 - mu / (constant * x.norm(dim=1, keepdim=True))).clamp_min(0)
    torch.testing.assert_close(group_prox(x, d, mu), shrink * x, rtol=1e-9, atol=1e-15)


def test_the_closed_form_with_the_mean_metric_is_no_substitute():
    x, d, mu = problem(0, 60, 1.0, 0.5)
    mean = d.mean(dim=1, keepdim=True).expand_as(d)
    wrong = group_prox(x, mean, mu)
    assert stationarity(x, d, mu, wrong).max() > 0.1


@pytest.mark.parametrize("planted", ["sign", "factor", "one iteration"])
def test_the_oracles_see_planted_errors(planted, monkeypatch):
    x, d, mu = problem(1, 60, 1.0, 0.5)
    if planted == "one iteration":
        monkeypatch.setattr("compactmtl.sparsity.prox.NUM_ITERATIONS", {DOUBLE: 1})
    z = group_prox(x, d, mu) * {"sign": -1.0, "factor": 1.001}.get(planted, 1.0)
    assert stationarity(x, d, mu, z).max() > 1e-6
    with pytest.raises(AssertionError):
        torch.testing.assert_close(z, bisection(x, d, mu), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_scaling_x_and_mu_scales_the_result(scale):
    x, d, mu = problem(2, 9, 1.0, 0.5)
    expected = scale * group_prox(x, d, mu)
    torch.testing.assert_close(group_prox(scale * x, d, scale * mu), expected, rtol=1e-9, atol=0)


def test_no_penalty_changes_nothing_and_zero_stays_zero():
    x, d, _ = problem(3, 9, 1.0, 0.5)
    x[4] = 0.0
    torch.testing.assert_close(group_prox(x, d, 0.0), x, rtol=1e-15, atol=0)
    assert (group_prox(x, d, 1e-9)[4] == 0).all()


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)],
)
def test_lower_precision_is_close_where_the_group_lives(dtype, tolerance):
    x, d, mu = problem(4, 60, 0.5, 0.5)
    z = group_prox(x.to(dtype), d.to(dtype), mu)
    assert z.dtype == dtype
    exact = group_prox(x.to(dtype).double(), d.to(dtype).double(), mu)
    assert ((z - exact).norm(dim=1) <= tolerance * exact.norm(dim=1)).all()


def test_adams_extremes_in_float32_stay_finite():
    # dead coordinates have d = eps = 1e-8, lively ones up to 1e3
    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(5))
    d = 10 ** (11 * torch.rand(50, 40, generator=torch.Generator().manual_seed(6)) - 8)
    for mu in (1e-12, 1e-6, 1e-2, 1.0, 100.0):
        assert torch.isfinite(group_prox(x, d, mu)).all()


def test_nan_is_not_hidden():
    x = torch.ones(2, 3)
    x[0, 1] = math.nan
    z = group_prox(x, torch.ones(2, 3), 0.1)
    assert z[0].isnan().any()
    assert torch.isfinite(z[1]).all()


def solved(x: Tensor, d: Tensor, mu: float, mu_l1: float) -> Tensor:
    """Return the minimiser by a generic solver: accelerated projected gradient on the dual.

    z = x - (u + v) / d with |u_i| <= mu_l1 and ||v|| <= mu per row that minimise
    0.5 * sum (d x - u - v)^2 / d; it knows nothing of thresholds or of the order of operators.
    """
    u, v = torch.zeros_like(x), torch.zeros_like(x)
    ahead, step, t = (u, v), d.amin(dim=1, keepdim=True) / 2, 1.0
    for _ in range(4000):
        slope = step * ((ahead[0] + ahead[1]) / d - x)
        new_u = (ahead[0] - slope).clamp(-mu_l1, mu_l1)
        moved = ahead[1] - slope
        new_v = moved * (mu / moved.norm(dim=1, keepdim=True).clamp_min(mu + 1e-300)).clamp_max(1)
        after = (1 + math.sqrt(1 + 4 * t * t)) / 2
        ahead = (new_u + (t - 1) / after * (new_u - u), new_v + (t - 1) / after * (new_v - v))
        u, v, t = new_u, new_v, after
    return x - (u + v) / d


@pytest.mark.parametrize(
    ("share", "share_l1"), [(0.4, 0.0), (0.0, 0.4), (0.3, 0.2), (0.05, 0.6), (0.9, 0.1)]
)
def test_all_operators_equal_a_generic_convex_solver_on_small_groups(share, share_l1):
    x, d, _ = problem(7, 5, 0.5, 0.0)
    mu = share * group_pull(x, d).median().item()
    mu_l1 = share_l1 * (d * x).abs().median().item()
    expected = solved(x, d, mu, mu_l1)
    z = sparse_group_prox(x, d, mu, mu_l1)
    torch.testing.assert_close(z, expected, rtol=0, atol=1e-7)
    if share_l1 == 0:
        torch.testing.assert_close(group_prox(x, d, mu), expected, rtol=0, atol=1e-7)
    if share == 0:
        torch.testing.assert_close(l1_prox(x, d, mu_l1), expected, rtol=0, atol=1e-7)
    wrong_order = l1_prox(group_prox(x, d, mu), d, mu_l1)  # the solver tells the orders apart
    assert (min(mu, mu_l1) == 0) == torch.allclose(wrong_order, expected, rtol=0, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(problem=problems)
def test_moreau_for_l1(problem):
    # d (x - z) is d x clipped to the box: the projection on the dual ball in the metric 1 / d
    x, d, mu = problem
    z = l1_prox(x, d, mu)
    clipped = (d * x).clamp(-mu, mu)
    rounding = 4e-16 * float((d * x).abs().max())
    torch.testing.assert_close(d * (x - z), clipped, rtol=1e-9, atol=rounding)
    assert torch.equal(z == 0, x.abs() <= mu / d)
    assert not torch.signbit(z[z == 0]).any()


@settings(max_examples=40, deadline=None)
@given(problem=problems, share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_moreau_for_the_sparse_group(problem, share):
    # y = d (x - z) splits into u in the box and v in the ball; <y, z> is the penalty at z
    x, d, mu = problem
    mu_l1 = share * (d * x).abs().median().item()
    z = sparse_group_prox(x, d, mu, mu_l1)
    y = d * (x - z)
    v = y - torch.where(z == 0, y.clamp(-mu_l1, mu_l1), mu_l1 * z.sign())
    rounding = 1e-14 * group_pull(x, d).squeeze(1)
    assert (v.norm(dim=1) <= mu * (1 + 1e-8) + rounding).all()
    penalty = mu_l1 * z.abs().sum(dim=1) + mu * z.norm(dim=1)
    slack = 1e-7 * penalty + rounding * x.norm(dim=1)
    assert ((y * z).sum(dim=1) - penalty).abs().le(slack).all()


def test_a_group_of_one_is_the_l1_operator():
    x, d, mu = problem(8, 1, 1.0, 0.7)
    assert torch.equal(group_prox(x, d, mu), l1_prox(x, d, mu))


def test_blocks_change_nothing():
    num_rows = BLOCK // 300 + 7
    x = torch.randn(num_rows, 300, generator=torch.Generator().manual_seed(9))
    d = torch.rand(num_rows, 300, generator=torch.Generator().manual_seed(10)) + 0.01
    whole, last = group_prox(x, d, 4.0), group_prox(x[-3:], d[-3:], 4.0)
    assert torch.equal(whole[-3:], last)


class NothingIsRead(TorchDispatchMode):
    """Fails where a value of a tensor is asked for: on a GPU, the host would wait there."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        reads = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        assert op not in reads
        return op(*args, **(kwargs or {}))


def test_nothing_is_read_on_the_host():
    x, d, mu = problem(11, 9, 1.0, 0.5)
    with NothingIsRead():
        sparse_group_prox(x, d, torch.tensor(mu), 0.1)
    with NothingIsRead(), pytest.raises(AssertionError):  # what the test relies on
        x.sum().item()
