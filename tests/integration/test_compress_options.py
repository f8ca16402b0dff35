"""Options of `compress`, and bad input to it, through the command line."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import compactmtl as cm
from compactmtl.cli.app import run
from compactmtl.errors import ResourceError

NETWORKS = """
import torch
from torch import nn

from compactmtl.compiler.rules import OneByOne, channelwise


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, padding=1)

    def forward(self, image):
        return torch.relu(self.second(torch.relu(self.first(image))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.seg = nn.Conv2d(6, 2, 1)
        self.depth = nn.Conv2d(6, 1, 3)

    def forward(self, image):
        x = self.encoder(image)
        return {"seg": self.seg(x), "depth": self.depth(x)}


class Branches(Net):
    def forward(self, image):
        x = self.encoder(image)
        if x.mean() > 1e9:
            x = x / 2
        return self.seg(x)


class Sums(Net):
    def forward(self, image):
        return self.seg(torch.cumsum(self.encoder(image), 2))


class Hungry(Net):
    def forward(self, image):
        return self.seg(self.encoder(image) + torch.ones(1 << 50).mean())


class RunningSum(OneByOne):
    ops = frozenset({"cumsum"})

    def refuses(self, node, facts):
        return "" if node.args[1] != 1 else "it sums over channels"

    def constants(self, node, facts):
        known = facts.constants[channelwise(node)]
        return known.where(known == 0, torch.nan)


class WrongSum(RunningSum):
    def refuses(self, node, facts):
        return ""

    def constants(self, node, facts):
        return facts.constants[channelwise(node)].nan_to_num(1.0)


def broken():
    raise KeyError("nothing here")
"""
SHAPE = ["--input", "image=1x3x12x12", "--static"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with networks, their weights with zero groups, and ones nearly zero."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "optnets", raising=False)
    (tmp_path / "optnets.py").write_text(NETWORKS)
    generator = torch.Generator().manual_seed(0)
    state = {
        "encoder.first.weight": torch.randn(8, 3, 3, 3, generator=generator),
        "encoder.first.bias": torch.randn(8, generator=generator),
        "encoder.second.weight": torch.randn(6, 8, 3, 3, generator=generator),
        "encoder.second.bias": torch.randn(6, generator=generator),
        "seg.weight": torch.randn(2, 6, 1, 1, generator=generator),
        "seg.bias": torch.randn(2, generator=generator),
        "depth.weight": torch.randn(1, 6, 3, 3, generator=generator),
        "depth.bias": torch.randn(1, generator=generator),
    }
    state["encoder.second.weight"][:, 5:] = 0
    state["encoder.second.weight"][:, 4] *= 1e-5
    state["seg.weight"][:, :2] = 0
    save_file(state, tmp_path / "w.safetensors")
    return tmp_path


def command(*options: str, model: str = "optnets:Net", weights: str = "w.safetensors") -> list[str]:
    return ["compress", weights, "--model", model, *SHAPE, *options]


@pytest.fixture
def done(here, capfd) -> Callable[..., dict[str, Any]]:
    """Run `compress`, which must succeed; return its JSON document with what it said."""

    def check(args: list[str]) -> dict[str, Any]:
        capfd.readouterr()
        assert run([*args, "--json"]) == 0
        output = capfd.readouterr()
        document: dict[str, Any] = json.loads(output.out)
        on_disk = json.loads((here / "compact/report.json").read_text())
        assert {**on_disk, "folder": "compact"} == document
        return {**document, "said": output.err}

    return check


def everything(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def refused(here, capfd) -> Callable[..., None]:
    """Run a command that must fail in one line, with a hint, and write nothing."""

    def check(args: list[str], code: int, *expected: str) -> None:
        before = everything(here)
        capfd.readouterr()
        assert run([*args, "--json"]) == code
        output = capfd.readouterr()
        lines = output.err.splitlines()
        assert [line.partition(":")[0] for line in lines] == ["error", "hint"], output.err
        for word in expected:
            assert word in output.err
        assert everything(here) == before

    return check


def test_tasks_imply_the_removal_and_the_report_keeps_them_apart(done, here) -> None:
    document = done(command("--tasks", "seg", "--objective", "macs"))
    assert document["dropped"]["outputs"] == ["depth"]
    assert document["dropped"]["num_params"] == 6 * 9 + 1
    assert "dropped outputs: depth; this alone saved" in document["said"]
    compact = cm.load(here / "compact/model.pt2")
    dense = cm.load(here / "compact/dense.pt2")
    image = torch.rand(1, 3, 12, 12)
    assert list(compact.module(image)) == list(dense.module(image)) == ["seg"]
    assert compact.module.get_parameter("encoder.second.weight").shape[:2] == (4, 5)
    assert run(["export", "--quiet"]) == 0


def test_a_threshold_says_what_it_changed(done) -> None:
    document = done(command("--threshold", "1e-4", "--objective", "macs"))
    assert document["threshold"]["layers"] == {"encoder.second": 1}
    for change in document["threshold"]["outputs"].values():
        assert 0 < change["rms"] < 1e-3
    assert "1 of 23 groups" in document["said"]
    assert document["layers"][0]["out_after"] == 4


def test_a_part_is_written_with_the_inputs_it_receives(done, refused, here) -> None:
    refused(
        command(model="optnets:Branches"),
        18,
        "if x.mean() > 1e9",
        "optnets.py:",
        "--part NAME (parts of it: encoder)",
        "torch.where",
    )
    document = done(command("--part", "encoder", "-o", "compact", model="optnets:Branches"))
    assert document["part"]["name"] == "encoder"
    assert "cm.stitch" in document["said"]
    import optnets  # type: ignore[import-not-found]

    net = optnets.Branches()
    image = torch.rand(1, 3, 12, 12)
    expected = net(image)
    cm.stitch(net, cm.load(here / "compact/model.pt2"))
    assert net(image).shape == expected.shape
    assert run(["export", "--quiet"]) == 0
    refused(command("--part", "encode", "-o", "new"), 2, "did you mean `encoder`")
    refused(command("--part", "encoder", "--tasks", "seg", "-o", "new"), 2, "keeps all")


def test_a_rule_is_imported_used_and_caught_where_it_is_wrong(done, refused) -> None:
    sums = {"model": "optnets:Sums"}
    assert [row["op"] for row in done(command(**sums))["opaque"]] == ["cumsum"]
    document = done(command("--rule", "optnets:RunningSum", "--prune-zero-channels", **sums))
    assert document["opaque"] == []
    assert document["rules"] == ["RunningSum"]
    assert "rules of your own: RunningSum" in document["said"]
    wrong = command("--rule", "optnets:WrongSum", "--prune-zero-channels", "-o", "new", **sums)
    refused(wrong, 19, "rule WrongSum", "`cumsum`", "nothing was written")
    refused(command("--rule", "RunningSum", "-o", "new"), 2, "package.module:MyRule")
    refused(command("--rule", "optnets:Net", "-o", "new"), 2, "is no rule, but the class Net")


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        (["--tasks", "sge"], 2, "no output called `sge`; did you mean `seg`"),
        (["--threshold", "-1"], 2, "threshold -1: expected a positive number"),
        (["--input", "image=1x4x12x12"], 2, "`image` is given twice"),
    ],
)
def test_options_that_make_no_sense(refused, options, code, expected) -> None:
    refused(command(*options, "-o", "new"), code, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image=1x4x12x12", "`encoder.first` expects 3 channels of float32, got 4 of float32"),
        ("image=1x3x12x12:int64", "expects 3 channels of float32, got 3 of int64"),
        ("image=12", "expects 3 channels of float32, got none"),
    ],
)
def test_inputs_of_another_shape_or_type(refused, text, expected) -> None:
    args = ["compress", "w.safetensors", "--model", "optnets:Net", "--input", text]
    refused(args, 18, expected, "optnets.py:", "check shape and dtype")


def test_nan_in_the_weights(here, refused) -> None:
    import safetensors.torch

    state = safetensors.torch.load_file("w.safetensors")
    state["seg.weight"][0, 3] = torch.nan
    save_file(state, "nan.safetensors")
    refused(command(weights="nan.safetensors"), 13, "`seg.weight` has 1 NaN")


@pytest.mark.parametrize("dead", ["seg.weight", "encoder.first.weight", "all"])
def test_a_network_whose_channels_are_all_dead(here, done, dead) -> None:
    import safetensors.torch

    state = safetensors.torch.load_file("w.safetensors")
    for name in state if dead == "all" else [dead]:
        state[name].zero_()
    save_file(state, "dead.safetensors")
    document = done(command("--prune-zero-channels", weights="dead.safetensors"))
    assert document["after"]["macs"] < document["before"]["macs"]


def test_memory_that_runs_out(refused, monkeypatch) -> None:
    hungry = command(model="optnets:Hungry")
    refused(hungry, ResourceError.exit_code, "step `capture`", "asked for 4,194,304.0 GiB")
    from compactmtl.compiler import verify

    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 7 bytes.")

    monkeypatch.setattr(verify, "run", full)
    refused(command(), ResourceError.exit_code, "step `verify, input 1 of", "smaller --input")


def test_a_pt2_is_not_opened(here, refused, monkeypatch) -> None:
    (here / "hostile.pt2").write_bytes(b"PK\x03\x04 whatever")
    monkeypatch.setattr(torch, "load", None)
    foreign = ["--model", "optnets:Net", *SHAPE]
    for extra in ([], foreign):
        refused(["compress", "hostile.pt2", *extra], 2, "`hostile.pt2` is a captured program")
