"""Gradient surgery by TorchJD: delegated, pulled back through kernels, or refused."""

import sys

import pytest
import torch
from torch import nn

import compactmtl.overparam as op
from compactmtl.errors import MissingExtraError, NonFiniteError, PartError, RecipeError
from compactmtl.multitask.weightings import make_weighting
from compactmtl.training.by_gradient import backward_by_gradient

FACTORS = {"a": 2.0, "b": 1.0}
PHASES = {
    "overparam": {"until": 0.25, "m_lr": 0.02, "subset": 0.5},
    "sparsity": {"schedule": "constant", "lam": 0.3, "start": 0.5, "stop": 0.75},
}


class Net(nn.Module):
    """One shared layer, one of each task."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.a, self.b = nn.Linear(4, 3), nn.Linear(3, 1), nn.Linear(3, 1)
        self.double()

    def losses(self):
        x = torch.linspace(0.1, 1, 20, dtype=torch.float64).reshape(5, 4)
        h = self.shared(x)
        return {
            "a": (self.a(h) - 1).square().mean(),
            "b": 10 * (self.a(h) + self.b(h) + 90).mean(),
        }


def run(loss, **options):
    loss.backward(**options)


def make(aggregator, **options):
    pytest.importorskip("torchjd")
    if aggregator == "UPGrad":
        pytest.importorskip("quadprog")
    args = {"aggregator": aggregator, "options": options}
    return make_weighting("torchjd", FACTORS, args)


def test_a_sum_of_gradients_is_the_gradient_of_the_sum_layer_by_layer():
    net, plain = Net(), Net()
    op.expand(net, tasks=("a", "b"), layers="shared")
    op.expand_like(plain, op.expansion_spec(net))
    plain.load_state_dict(net.state_dict())
    optimizer = torch.optim.SGD(op.param_groups(net, 0.1))
    with op.training_step(net, optimizer, frobenius=0.3):
        backward_by_gradient(net.losses(), op.backward_leaves(net), make("Sum"), run)
    losses = plain.losses()
    (2 * losses["a"] + losses["b"] + op.frobenius(plain, 0.3)).backward()
    for (name, one), other in zip(net.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12, msg=name)


def kernel_gradients(net, backward):
    """Return the gradients of what both tasks reach, kernels instead of factors, as one vector."""
    optimizer = torch.optim.SGD(op.param_groups(net, 0.1))
    net.zero_grad(set_to_none=True)
    with op.training_step(net, optimizer, frobenius=0.0):
        backward()
        shared = (net.shared.weight, net.shared.bias, net.a.weight, net.a.bias)
        return torch.cat([tensor.grad.flatten() for tensor in shared])


@pytest.mark.parametrize(("aggregator", "harms"), [("UPGrad", False), ("Sum", True)])
def test_upgrad_steps_against_no_task_where_their_sum_does(aggregator, harms):
    net = Net()
    with torch.no_grad():  # one output, which the tasks pull apart, the second one harder
        net.a.weight.fill_(0.1)
        net.b.weight.fill_(4.0)
    op.expand(net, tasks=("a", "b"), layers="shared")
    own = [kernel_gradients(net, lambda t=task: net.losses()[t].backward()) for task in "ab"]
    assert own[0] @ own[1] < 0
    made = kernel_gradients(
        net,
        lambda: backward_by_gradient(net.losses(), op.backward_leaves(net), make(aggregator), run),
    )
    assert (min(float(made @ gradient) for gradient in own) < -1e-9) is harms
    factors = net.shared.parametrizations.weight[0]
    G, m = made[: 3 * 4].reshape(3, 4), factors.m_a * factors.m_b
    torch.testing.assert_close(factors.V.grad, (factors.U * m).T @ G, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(factors.U.grad, (G @ factors.V.T) * m, rtol=1e-9, atol=1e-12)


def test_what_one_task_reaches_alone_is_not_aggregated():
    net = Net()
    backward_by_gradient(net.losses(), op.backward_leaves(net), make("MGDA"), run)
    expected = torch.autograd.grad(net.losses()["b"], net.b.bias)[0]
    torch.testing.assert_close(net.b.bias.grad, expected)


def test_a_gradient_that_is_not_finite_names_its_task():
    net = Net()
    losses = net.losses()
    losses["b"] = losses["b"] * torch.inf
    with pytest.raises(NonFiniteError, match="gradient of `b` holds NaN or Inf"):
        backward_by_gradient(losses, op.backward_leaves(net), make("Sum"), run)


def test_a_run_with_the_sum_learns_what_fixed_weights_do_in_every_phase(train):
    pytest.importorskip("torchjd")
    weighting = {"name": "torchjd", "args": {"aggregator": "Sum"}}
    plain = train(train={"epochs": 4}, **PHASES)
    summed = train(train={"epochs": 4}, weighting=weighting, **PHASES)
    for one, other in zip(summed.history, plain.history, strict=True):
        assert one["phase"] == other["phase"]
        assert "weights" not in one
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)


@pytest.mark.parametrize(
    "aggregator", ["UPGrad", "MGDA", "PCGrad", "IMTLG", "AlignedMTL", "ConFIG"]
)
def test_published_aggregators_train(train, aggregator):
    make(aggregator)
    weighting = {"name": "torchjd", "args": {"aggregator": aggregator}}
    result = train(train={"epochs": 1}, overparam={}, weighting=weighting)
    assert result.history[0]["m_reach"]["seg"] > 0


@pytest.mark.parametrize(
    ("sections", "error", "words"),
    [
        ({"weighting": {"args": {"aggregator": "PCgrad"}}}, PartError, "did you mean `PCGrad`"),
        ({"weighting": {"args": {"aggregator": "CAGrad"}}}, RecipeError, "argument `c` is missing"),
        (
            {"weighting": {"args": {"aggregator": "MGDA", "options": {"eps": 1}}}},
            RecipeError,
            "did you mean `epsilon`",
        ),
        ({"weighting": {"args": {"aggregator": "ExcessMTL"}}}, RecipeError, "keeps a state"),
        ({"overparam": {"iterative": "minibatch"}}, RecipeError, "both divide the gradients"),
        ({"train": {"compile": True}}, RecipeError, "does not go with weighting `torchjd`"),
        ({"train": {"distill": 0.5}}, RecipeError, "does not go with train.distill"),
        ({"train": {"precision": "16-mixed"}}, RecipeError, "bf16-mixed|scaled gradient"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_a_folder_is_made(
    train, tmp_path, sections, error, words
):
    pytest.importorskip("torchjd")
    weighting = sections.get("weighting", {"args": {"aggregator": "Sum"}})
    sections = sections | {"weighting": {"name": "torchjd", **weighting}}
    with pytest.raises(error, match=words):
        train(**sections)
    assert not (tmp_path / "runs").exists()


def test_a_missing_extra_is_named(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(MissingExtraError, match="not installed: torchjd") as caught:
        train(weighting={"name": "torchjd"})
    assert caught.value.exit_code == 4
    assert caught.value.hint == 'pip install "compactmtl[torchjd]"'
    assert not (tmp_path / "runs").exists()


def test_what_an_aggregator_needs_beside_it_is_named(monkeypatch):
    pytest.importorskip("torchjd")
    from torchjd.aggregation import CAGrad

    def lacking(self, c: float) -> None:
        raise ImportError("CAGrad requires ['cvxpy'] to be installed.")

    monkeypatch.setattr(CAGrad, "__init__", lacking)
    with pytest.raises(MissingExtraError, match=r"needs packages.*cvxpy"):
        make("CAGrad", c=0.5)
