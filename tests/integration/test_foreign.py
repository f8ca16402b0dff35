"""Foreign networks and weights through `compactmtl compress`."""

import json
import sys
import textwrap

import pytest
import torch
from random_nets import randomise
from safetensors.torch import save_file
from torch import nn

from compactmtl.checkpoint import Checkpoint, save_checkpoint
from compactmtl.cli.app import run
from compactmtl.compact import load_folder

NETWORKS = textwrap.dedent(
    '''
    """Networks of somebody who has never heard of compactmtl."""
    import torch
    import torchvision
    from torch import nn

    class TwoHeads(nn.Module):
        def __init__(self, tuple_=False, channel_op=None):
            super().__init__()
            self.trunk = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
                nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU(),
            )
            self.heads = nn.ModuleDict({"seg": nn.Conv2d(12, 5, 1), "depth": nn.Conv2d(12, 1, 1)})
            self.tuple_, self.channel_op = tuple_, channel_op

        def forward(self, image):
            x = self.trunk(image)
            if self.channel_op is not None:
                x = self.channel_op(x)
            outputs = {name: head(x) for name, head in self.heads.items()}
            return tuple(outputs.values()) if self.tuple_ else outputs

    def build(tasks=None):
        return TwoHeads()

    def build_tuple():
        return TwoHeads(tuple_=True)

    def shuffle(x):
        return x.sort(dim=1).values  # an op without a rule

    def build_opaque():
        return TwoHeads(channel_op=shuffle)

    def branch(x):
        return x if x.mean() > 0 else -x

    def build_branching():
        return TwoHeads(channel_op=branch)

    class Guided(TwoHeads):
        def __init__(self):
            super().__init__()
            self.guide = nn.Conv2d(2, 12, 1)

        def forward(self, image, hint):  # the hint has half the size
            x = self.trunk(image) + self.guide(hint)
            return {name: head(x) for name, head in self.heads.items()}

    def resnet():
        return torchvision.models.resnet18(weights=None, num_classes=10)
    '''
)
SIZE = ("--input", "image=1x3x32x48")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "somebody").mkdir()
    (folder / "somebody" / "__init__.py").touch()
    (folder / "somebody" / "nets.py").write_text(NETWORKS, encoding="utf-8")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "somebody"]:
        del sys.modules[name]


@pytest.fixture
def nets(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(package)
    import somebody.nets

    return somebody.nets


def network(factory, seed: int = 1) -> nn.Module:
    return randomise(factory(), seed)


def compress(weights, factory: str, *args: str) -> int:
    return run(["compress", str(weights), "--model", f"somebody.nets:{factory}", *args])


def check_same(original: nn.Module, folder, *inputs: torch.Tensor) -> None:
    compact = load_folder(folder)
    with torch.no_grad():
        expected, got, dense = original(*inputs), compact.module(*inputs), compact.dense(*inputs)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dense, expected, rtol=1e-5, atol=1e-6)


def test_weights_of_every_kind_give_the_same_compact_network(nets, tmp_path, capsys):
    net = network(nets.build)
    state = net.state_dict()

    def prefixed(prefix):
        return {prefix + name: tensor for name, tensor in state.items()}

    torch.save(state, tmp_path / "plain.pt")
    save_file(prefixed("model."), tmp_path / "prefixed.safetensors")
    lightning = {"pytorch-lightning_version": "2.5", "epoch": 3}
    torch.save({**lightning, "state_dict": prefixed("model.")}, tmp_path / "lightning.ckpt")
    torch.save({"model": prefixed("module."), "optimizer": {}}, tmp_path / "ddp.pth")
    torch.save({"ema": prefixed("_orig_mod."), "step": 2}, tmp_path / "compiled.pt")
    words = {
        "plain.pt": "state dict",
        "prefixed.safetensors": "safetensors), prefix `model.` removed",
        "lightning.ckpt": "Lightning checkpoint, container `state_dict`), prefix `model.` removed",
        "ddp.pth": "container `model`)",
        "compiled.pt": "container `ema`)",
    }
    weights = set()
    for file, how in words.items():
        out = tmp_path / f"out-{file}"
        assert (
            compress(file, "build", *SIZE, "--static", "--prune-zero-channels", "-o", out.name) == 0
        )
        assert how in capsys.readouterr().err
        weights.add((out / "weights.safetensors").read_bytes())
    assert len(weights) == 1
    check_same(net, tmp_path / "out-plain.pt", torch.rand(1, 3, 32, 48))


def test_a_foreign_network_is_made_small_and_exports(nets, tmp_path, capsys):
    net = network(nets.build)
    torch.save(net.state_dict(), "w.pt")
    args = ("--outputs", "seg,depth", "--prune-zero-channels", "--json")
    assert compress("w.pt", "build", *SIZE, *args) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["after"]["macs"] < 0.8 * document["before"]["macs"]
    assert document["notes"] == []
    assert document["group_norms"] == []
    check_same(net, tmp_path / "compact", torch.rand(3, 3, 40, 56))
    assert run(["export", "--quiet"]) == 0
    assert (tmp_path / "compact" / "dense.onnx").is_file()


def test_a_dense_network_is_told_so_first_with_norms_and_what_helps(nets, capsys):
    torch.manual_seed(0)
    torch.save(nets.build().state_dict(), "w.pt")
    assert compress("w.pt", "build", *SIZE, "--static", "--prune-zero-channels") == 0
    output = capsys.readouterr()
    warnings = [line for line in output.err.splitlines() if line.startswith("warning")]
    assert warnings[0].startswith("warning: nothing can be removed: none of 35 input groups is")
    assert "likely cause: it was trained without group sparsity" in warnings[1]
    assert "cm.ProximalAdamW" in warnings[2]
    assert output.out.startswith("l2 norms of input groups")
    assert all(layer in output.out for layer in ("trunk.0", "trunk.3", "heads.seg", "heads.depth"))
    with open("compact/report.json", encoding="utf-8") as file:  # noqa: PTH123
        assert [row["num_groups"] for row in json.load(file)["group_norms"]] == [3, 8, 12, 12]


def test_an_unknown_op_is_named_with_the_users_line(nets, tmp_path, capsys):
    net = network(nets.build_opaque)
    torch.save(net.state_dict(), "w.pt")
    assert compress("w.pt", "build_opaque", *SIZE, "--static", "--prune-zero-channels") == 0
    line = 1 + NETWORKS.splitlines().index("            x = self.channel_op(x)")
    shown = capsys.readouterr().err
    assert "opaque op `sort`" in shown
    assert f"nets.py:{line}]" in shown
    document = json.loads((tmp_path / "compact" / "report.json").read_text(encoding="utf-8"))
    (entry,) = document["opaque"]
    assert (entry["op"], entry["why"]) == ("sort", "no rule for this op")
    assert entry["source"].endswith(f"somebody/nets.py:{line}")
    check_same(net, tmp_path / "compact", torch.rand(1, 3, 32, 48))


def test_a_plain_tuple_gets_the_names_of_the_command_line(nets, tmp_path):
    net = network(nets.build_tuple)
    torch.save(net.state_dict(), "w.pt")
    args = ("--static", "--prune-zero-channels", "--quiet")
    assert compress("w.pt", "build_tuple", *SIZE, "--outputs", "seg,depth", *args) == 0
    assert load_folder("compact").manifest.output_names == ["seg", "depth"]
    check_same(net, tmp_path / "compact", torch.rand(1, 3, 32, 48))


def test_two_inputs_of_different_size_keep_their_names_in_any_order(nets, tmp_path):
    net = network(nets.Guided)
    torch.save(net.state_dict(), "w.pt")
    inputs = ("--input", "hint=1x2x16x24", *SIZE)
    assert compress("w.pt", "Guided", *inputs, "--prune-zero-channels", "--quiet") == 0
    manifest = load_folder("compact").manifest
    assert manifest.input_names == ["image", "hint"]
    check_same(net, tmp_path / "compact", torch.rand(3, 3, 64, 32), torch.rand(3, 2, 32, 16))


def test_torchvision_resnet18_with_zero_groups(nets, tmp_path, capsys):
    net = network(nets.resnet, seed=5)
    torch.save(net.state_dict(), "w.pt")
    args = ("--prune-zero-channels", "--outputs", "logits", "--static", "--json")
    assert compress("w.pt", "resnet", "--input", "image=1x3x64x64", *args) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["opaque"] == []
    assert document["after"]["macs"] < 0.6 * document["before"]["macs"]
    compact = load_folder("compact")
    assert compact.manifest.input_names == ["image"]
    check_same(net, tmp_path / "compact", torch.rand(1, 3, 64, 64))


def test_static_fixes_batch_and_size(nets):
    torch.save(network(nets.build).state_dict(), "w.pt")
    assert compress("w.pt", "build", *SIZE, "--static", "--quiet") == 0
    (spec,) = load_folder("compact").manifest.inputs
    assert (spec.shape, spec.dynamic) == ((1, 3, 32, 48), {})


@pytest.mark.parametrize(
    ("factory", "args", "code", "words"),
    [
        (
            "build",
            ("--input", "image=1x4x32x48"),
            18,
            "(1, 4, 32, 48) float32: `trunk.0` expects 3 channels",
        ),
        ("build", ("--input", "1x3x32x48"), 2, "expected NAME=SHAPE"),
        ("build", ("--input", "image=3x32"), 18, "does not run on inputs (3, 32)"),
        ("build", (*SIZE, "--input", "hint=1x1"), 18, "does not run on inputs"),
        ("build", (), 2, "needs the input's shape"),
        ("build", (*SIZE, "--outputs", "seg"), 2, "1 output names given (seg), the network has 2"),
        ("build", (*SIZE, "--outputs", "depth,normals"), 2, "has another output called `depth`"),
        ("build", (*SIZE, "--no-gather"), 2, "--no-gather says how"),
        ("build_branching", SIZE, 18, "return x if x.mean() > 0 else -x"),
        ("resnet", SIZE, 12, "does not fit the network"),
        ("biuld", SIZE, 2, "did you mean `build`"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(
    nets, factory, args, code, words, tmp_path, capsys
):
    torch.save(network(nets.build).state_dict(), "w.pt")
    assert compress("w.pt", factory, *args, "--quiet") == code
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith("error: ")
    assert words in errors[0]
    assert len(errors) <= 2
    assert not (tmp_path / "compact").exists()


def test_a_checkpoint_that_names_foreign_code_needs_the_users_word(nets, tmp_path, capsys):
    net = network(nets.build)
    recipe = {
        "name": "mine",
        "model": {"name": "somebody.nets:build"},
        "data": {"name": "somebody.data:Data"},
        "tasks": {"seg": {"kind": "segmentation"}, "depth": {"kind": "depth"}},
    }
    specs = {"seg": ("segmentation", 5), "depth": ("depth", 1)}
    save_checkpoint(
        tmp_path / "ckpt.pt",
        Checkpoint(
            recipe=recipe,
            tasks={name: {"kind": kind, "num_channels": n} for name, (kind, n) in specs.items()},
            model=net.state_dict(),
            expansion=None,
            epoch=3,
            phase="debias",
            optimizer={},
            schedule={},
            history=[],
            seed=0,
        ),
    )
    assert run(["compress", "ckpt.pt", *SIZE, "--static"]) == 3
    error = capsys.readouterr().err
    assert "names out of a file are not imported" in error
    assert "--model somebody.nets:build" in error
    assert not (tmp_path / "compact").exists()
    assert compress("ckpt.pt", "build", *SIZE, "--static", "--prune-zero-channels", "--quiet") == 0
    check_same(net, tmp_path / "compact", torch.rand(1, 3, 32, 48))
