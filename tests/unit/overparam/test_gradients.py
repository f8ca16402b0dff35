"""The formulas of the method against autograd, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import compactmtl.overparam as op
from compactmtl.overparam.kernel import factors_of
from compactmtl.overparam.spectral import kernel_matrix

TASKS = ("a", "b", "c")


def moved_layer(inn: int, out: int, height: int, width: int, seed: int):
    """Return an expanded float64 conv whose factors are generic, and its factors."""
    torch.manual_seed(seed)
    layer = nn.Conv2d(inn, out, (height, width), dtype=torch.float64)
    op.expand(layer, tasks=TASKS, layers="*", ratio=1.4)
    factors = factors_of(layer)
    with torch.no_grad():
        for parameter in factors.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer, factors


def formulas(factors, G: Tensor) -> dict[str, Tensor]:
    """Return dU, dV and dm_j for G = dL/dWmat (research, 1.3)."""
    U, V, vectors = factors.U, factors.V, {task: factors.vector(task) for task in TASKS}
    m = torch.stack(list(vectors.values())).prod(dim=0)
    A = U.T @ G
    dm = (A * V).sum(dim=1)
    grads = {"U": (G @ V.T) * m, "V": m[:, None] * A}
    return grads | {f"m_{task}": dm * m / vectors[task] for task in TASKS}


sizes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=25, deadline=None)
@given(size=sizes, seed=st.integers(0, 99))
def test_gradients_of_u_v_and_m_are_the_formulas(size, seed):
    layer, factors = moved_layer(*size, seed)
    image = torch.randn(2, size[0], 6, 6, dtype=torch.float64)
    kernel = layer.weight.detach().requires_grad_()
    loss = nn.functional.conv2d(image, kernel, layer.bias).sin().sum()
    (dense,) = torch.autograd.grad(loss, kernel)
    layer(image).sin().sum().backward()
    for name, expected in formulas(factors, kernel_matrix(dense)).items():
        got = factors.get_parameter(name).grad
        torch.testing.assert_close(got, expected.detach(), rtol=1e-10, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(size=sizes, seed=st.integers(0, 99))
def test_frobenius_is_l2_on_the_kernel_pushed_through_the_formulas(size, seed):
    layer, factors = moved_layer(*size, seed)
    c = 0.37
    op.frobenius(layer, c).backward()
    with torch.no_grad():
        W = kernel_matrix(layer.weight)
        U, V = factors.U, factors.V
        m = factors.m_a * factors.m_b * factors.m_c
        # Khodak et al.'s form: gradients of c/2 ||U M V||^2
        reference = {"U": c * W @ (m[:, None] * V).T, "V": c * (U * m).T @ W}
        reference["m_a"] = c * (U.T @ W @ V.T).diagonal() * factors.m_b * factors.m_c
    for name, expected in {**formulas(factors, c * W), **reference}.items():
        got = factors.get_parameter(name).grad
        torch.testing.assert_close(got, expected.detach(), rtol=1e-10, atol=1e-12)


def test_the_value_of_frobenius_is_half_c_times_all_squares():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(3, 2), nn.Conv2d(2, 2, 1))
    expected = 0.5 * 0.1 * sum(net[i].weight.square().sum() for i in (0, 1))
    op.expand(net, tasks=TASKS, layers=("0", "1"))
    torch.testing.assert_close(op.frobenius(net, 0.1), expected, rtol=1e-5, atol=0)


def test_the_oracle_sees_a_diagonal_that_is_missing_once():
    layer, factors = moved_layer(3, 4, 3, 3, 0)
    layer.weight.sum().backward()
    G = torch.ones_like(kernel_matrix(layer.weight))
    wrong = formulas(factors, G)["m_a"] * factors.m_a
    with pytest.raises(AssertionError):
        torch.testing.assert_close(factors.m_a.grad, wrong.detach(), rtol=1e-10, atol=1e-12)
