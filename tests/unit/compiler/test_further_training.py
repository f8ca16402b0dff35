"""A compact model trains as the original would, in whatever loop."""

import copy
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from families import SMALL, compiled, image
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compactmtl.compiler import compress
from compactmtl.parameter_map import index

WORKER = Path(__file__).parents[2] / "support" / "train_in_parallel.py"


def loss(outputs: object) -> Tensor:
    return sum(output.square().mean() for output in tree_leaves(outputs))


def without_dropout(graph: nn.Module) -> None:
    """Set every dropout's share to 0: with other channel counts other numbers are drawn."""
    for node in graph.graph.nodes:
        if node.op == "call_function" and "dropout" in str(node.target):
            node.args = (node.args[0], 0.0, *node.args[2:])
    graph.recompile()


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_those_of_the_original_at_the_kept_channels(name: str, mode: str) -> None:
    compact = copy.deepcopy(compiled(name))
    entries, module = compact.plan["parameters"], compact.module.double()
    dense = compact.dense.double()
    dense.load_state_dict(compact.original_state_dict(), strict=False)
    for graph in (module, dense):
        without_dropout(graph)
        graph.train(mode == "train")
        loss(graph(image().double())).backward()
    originals = dict(dense.named_parameters())
    scale = max(parameter.grad.abs().max().item() for parameter in module.parameters())
    num_cut = 0
    for name, parameter in module.named_parameters():
        entry = entries[name]
        whole = originals[entry.get("part_of", name)].grad
        place = index(entry["axes"], entry["shape"], parameter.shape[0]) if whole.ndim else ...
        torch.testing.assert_close(whole[place], parameter.grad, rtol=1e-7, atol=1e-9 * scale)
        num_cut += whole.shape != parameter.shape
    assert num_cut > 4


@pytest.mark.parametrize("name", ["segnet", "densenet", "mobilenet_v3"])
def test_modes_do_what_they_say_on_copies_too(name: str) -> None:
    original = compiled(name).module
    module = copy.deepcopy(original)
    before = copy.deepcopy(module.state_dict())
    reference = tree_leaves(original(image()))
    module.train()
    assert not original.training
    torch.manual_seed(0)
    first, second = (tree_leaves(module(image()))[0] for _ in range(2))
    has_dropout = any("dropout" in str(node.target) for node in module.graph.nodes)
    assert torch.equal(first, second) != has_dropout  # batch norm uses the batch's statistics
    moved = {
        key for key, value in module.state_dict().items() if not torch.equal(value, before[key])
    }
    assert moved == {key for key in before if "running" in key}
    twin = copy.deepcopy(module)
    twin.eval()
    assert module.training
    kept = copy.deepcopy(twin.state_dict())
    assert torch.equal(tree_leaves(twin(image()))[0], tree_leaves(twin(image()))[0])
    assert all(torch.equal(value, kept[key]) for key, value in twin.state_dict().items())
    twin.load_state_dict(before)
    for got, expected in zip(tree_leaves(twin(image())), reference, strict=True):
        assert torch.equal(got, expected)


class AlwaysOn(nn.Module):
    """Ops that draw or take batch statistics in eval mode too, and others that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)
        self.norm = nn.InstanceNorm2d(8)  # no running statistics
        self.drop = nn.Dropout2d(0.5)
        self.slope = nn.RReLU()
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.slope(self.norm(self.conv(x)))))


def test_each_op_has_the_mode_that_its_module_would_have() -> None:
    torch.manual_seed(0)
    network, x = AlwaysOn(), torch.rand(4, 3, 8, 8)
    module = compress(network, x, dynamic=False).module
    for mode in (True, False, True):
        network.train(mode)
        module.train(mode)
        for graph in (module, copy.deepcopy(module)):
            assert graph.training == mode
            torch.manual_seed(1)
            expected = network(x)
            torch.manual_seed(1)
            torch.testing.assert_close(graph(x), expected, rtol=1e-4, atol=1e-5)


def test_a_users_own_loop_lowers_the_loss() -> None:
    module = copy.deepcopy(compiled("segnet").module).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    targets = {name: torch.zeros_like(value) for name, value in module(image(4)).items()}
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        outputs = module(image(4))
        total = sum((outputs[name] - target).abs().mean() for name, target in targets.items())
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["segnet", "mobilenet_v3", "convnext"])
def test_autocast_computes_in_half_precision_and_trains(name: str) -> None:
    module = copy.deepcopy(compiled(name).module)
    expected = tree_leaves(module(image()))
    module.train()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(module(image()))
    value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    module.eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        outputs = tree_leaves(copy.deepcopy(compiled(name).module)(image()))
    for got, wanted in zip(outputs, expected, strict=True):
        scale = wanted.abs().max().item()
        assert not torch.equal(got.float(), wanted)
        torch.testing.assert_close(got.float(), wanted, rtol=0, atol=0.1 * scale)


@pytest.mark.parametrize("name", ["segnet", "shufflenet"])
def test_channels_last_gives_the_same(name: str) -> None:
    module = copy.deepcopy(compiled(name).module)
    expected = tree_leaves(module(image()))
    module.to(memory_format=torch.channels_last)
    outputs = tree_leaves(module(image().to(memory_format=torch.channels_last)))
    for got, wanted in zip(outputs, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segnet", "shufflenet"])
def test_torch_compile_takes_the_whole_graph(name: str) -> None:
    torch._dynamo.reset()
    module = copy.deepcopy(compiled(name).module)
    faster = torch.compile(module, backend="aot_eager", fullgraph=True)
    for got, wanted in zip(tree_leaves(faster(image())), tree_leaves(module(image())), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())
    module.train()  # dynamo must see that the graph has changed
    statistics = next(b.clone() for n, b in module.named_buffers() if "running_mean" in n)
    loss(faster(image())).backward()
    moved = next(b for n, b in module.named_buffers() if "running_mean" in n)
    assert not torch.equal(moved, statistics)


@pytest.mark.slow
def test_two_processes_get_the_gradient_of_the_whole_batch(tmp_path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)
    ).eval()
    with torch.no_grad():
        net[3].weight[:, [1, 5]] = 0
    example = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    compact = compress(net, example)
    compact.save(tmp_path / "model.pt2")
    torch.save(example, tmp_path / "batch.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(__file__).parents[3]
    environment = {
        **os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    workers = [
        subprocess.Popen(
            [sys.executable, WORKER, tmp_path],
            env={**environment, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors[-2000:]
    loss(compact.module(example)).backward()  # in eval mode: batch statistics are per process
    for rank in range(2):
        gradients = torch.load(tmp_path / f"gradients-{rank}.pt")
        for name, parameter in compact.module.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)
        assert torch.load(tmp_path / f"moved-{rank}.pt")
