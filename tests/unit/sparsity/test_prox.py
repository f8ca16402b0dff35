"""The group operator against what defines it, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from compactmtl.sparsity import group_prox
from compactmtl.sparsity.prox import group_pull

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
    z, dead = group_prox(x, d, mu), group_pull(x, d).squeeze(1) <= mu
    assert torch.equal((z == 0).all(dim=1), dead)
    assert not torch.signbit(z[dead]).any()


@settings(max_examples=40, deadline=None)
@given(problem=problems)
def test_moreau(problem):
    # prox of mu||.|| in metric D, plus D^-1 times the projection on the dual ball in metric D^-1
    x, d, mu = problem
    z = group_prox(x, d, mu)
    y = d * (x - z)
    assert (y.norm(dim=1) <= mu * (1 + 1e-9)).all()
    alive = z.norm(dim=1) > 0
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
        monkeypatch.setattr("compactmtl.sparsity.prox.NUM_ITERATIONS", 1)
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
