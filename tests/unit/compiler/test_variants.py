"""Variants: several exact plans of one network, in the folder, exported and ranked."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from compactmtl.bench import bench
from compactmtl.bench.candidates import choose
from compactmtl.bench.record import RECORD, RatioRecord, write_record
from compactmtl.bench.table import fastest
from compactmtl.cli.app import run
from compactmtl.compact import load
from compactmtl.compiler import compress
from compactmtl.compiler.folder import write_folder
from compactmtl.compiler.table import default_table
from compactmtl.compiler.variants import (
    VARIANTS,
    AlignedWidths,
    choose_objective,
    equal,
    variant,
    variants,
)
from compactmtl.errors import MissingFileError, UsageError
from compactmtl.lineage import read_lineage
from compactmtl.report.documents import read_bench

TABLE = default_table()
SAMPLES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Two readers of one value that want different halves of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1)
        self.left, self.right = nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)
        self.seg, self.depth = nn.Conv2d(64, 3, 1), nn.Conv2d(64, 1, 1)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stem(image).relu()
        return {"seg": self.seg(self.left(x).relu()), "depth": self.depth(self.right(x).relu())}


def network(*, zeros: bool = True) -> nn.Module:
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        if zeros:
            net.left.weight[:, :30] = 0
            net.right.weight[:, 35:] = 0
            net.seg.weight[:, 20:61] = 0
    return net


def compiled(objective, net=None):
    parent = {"file": "x.pt", "sha256": "0" * 64}
    return compress(
        network() if net is None else net,
        SAMPLES[:1],
        objective=objective,
        dynamic=False,
        parent=parent,
    )


@pytest.fixture(scope="module")
def made():
    compact = compiled(TABLE)
    return compact, variants(compact, compiled)


@pytest.fixture
def folder(made, tmp_path) -> Path:
    compact, others = made
    write_folder(compact, tmp_path / "c", images=[SAMPLES], origin="noise", variants=others)
    return tmp_path / "c"


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "c"
    write_folder(made[0], folder, images=[SAMPLES], origin="noise", variants=made[1])
    with pytest.raises(MissingFileError, match="not exported; run `compactmtl export`"):
        choose(folder)
    assert run(["export", str(folder), "--quiet"]) == 0
    return folder


def test_variants_differ_from_the_model_and_from_each_other(made):
    compact, others = made
    assert "by-cost" not in others  # it is the model itself
    assert set(others) < set(VARIANTS)
    assert len(others) >= 2
    found = [compact, *others.values()]
    assert not any(equal(a, b) for i, a in enumerate(found) for b in found[:i])
    least = others["least-macs"].report.after.macs
    assert all(each.report.after.macs >= least for each in found)
    assert others.get("no-gathers", compact).report.gathers == 0


def test_every_variant_computes_the_same(made):
    reference = network()(SAMPLES[:1])
    for each in made[1].values():
        assert each.report.max_rel_error < 1e-5
        for name, value in each.module(SAMPLES[:1]).items():
            torch.testing.assert_close(value, reference[name])


def test_a_network_without_zeros_has_no_variants():
    net = network(zeros=False)
    compact = compiled(TABLE, net)
    assert variants(compact, partial(compiled, net=net)) == {}


def test_one_weight_that_differs_makes_another_model(made):
    other = compiled(TABLE)
    assert equal(made[0], other)
    with torch.no_grad():
        next(other.module.parameters()).view(-1)[0] += 1
    assert not equal(made[0], other)


def test_aligned_widths_are_dear_off_their_multiple():
    from compactmtl.compiler.cost import ConvShape

    model = AlignedWidths(TABLE)
    off, on = (ConvShape(n, 64, 9, 1, 196, 196) for n in (60, 64))
    assert model.conv(on) == TABLE.conv(on)
    assert model.conv(off) > model.conv(on)
    assert (model.device, model.unifies) == (TABLE.device, TABLE.unifies)


def test_unknown_variant():
    with pytest.raises(UsageError, match=r"no variant called `alined`"):
        variant("alined", TABLE)


def test_options_name_an_objective(tmp_path):
    file = tmp_path / "t.json"
    TABLE.save(file)
    assert (
        choose_objective(None, None, None) == choose_objective("latency", None, None) == "latency"
    )
    assert choose_objective("latency", file, None) == TABLE
    assert choose_objective(None, file, "aligned") == AlignedWidths(TABLE)
    assert choose_objective(None, None, "aligned") == AlignedWidths(TABLE)
    assert choose_objective("macs", None, None) == "macs"
    for wrong in ((file, None), (None, "aligned")):
        with pytest.raises(UsageError, match="says how to be fast, the objective is macs"):
            choose_objective("macs", *wrong)


def test_the_folder_holds_them_and_forgets_them(folder, made):
    compact, others = made
    report = json.loads((folder / "report.json").read_text())
    assert set(report["variants"]) == set(others)
    assert {p.name for p in (folder / "variants").iterdir()} == set(others)
    for name in others:
        again = load(folder / "variants" / name / "model.pt2")
        assert equal(again, others[name]) or again.plan == others[name].plan
    write_folder(compact, folder, images=[SAMPLES], origin="noise")
    assert not (folder / "variants").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["c"]


def test_export_and_bench_take_them(exported, made):
    found = choose(exported)
    assert list(found.files) == ["dense", "compact", *made[1]]
    assert found.left_out == {}
    record = bench(exported, seconds=0, rounds=2)
    write_record(exported / RECORD, record)
    told, left_out = read_bench(exported, read_lineage(exported).artefacts)
    assert told is not None  # the report shows them
    assert left_out == []
    (exported / RECORD).unlink()
    assert record.variants == list(made[1])
    assert {f"compact/{name}" for name in made[1]} < set(record.ratios)


def test_variants_of_another_compile_are_strangers(exported, made, tmp_path):
    folder = Path(shutil.copytree(exported, tmp_path / "c"))
    report = json.loads((folder / "report.json").read_text())
    first, *rest = made[1]
    report["variants"][first]["sha256"] = "0" * 64
    (folder / "report.json").write_text(json.dumps(report))
    found = choose(folder)
    assert list(found.files) == ["dense", "compact", *rest]
    assert list(found.left_out) == [f"variants/{first}"]


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        ({"a": (1.02, 1.2), "b": (0.8, 0.9)}, "--variant a"),
        ({"a": (0.98, 1.2), "b": (0.8, 0.9)}, "no variant is faster here than compact"),
        ({}, ""),
    ],
)
def test_the_bench_says_which_is_fastest(exported, intervals, said):
    record = bench(exported, seconds=0, rounds=2).model_copy(
        update={
            "variants": list(intervals),
            "ratios": {
                f"compact/{name}": RatioRecord(
                    clock="cpu",
                    verdict="ok",
                    cpu=sum(i) / 2,
                    cpu_interval=i,
                    wall=1,
                    wall_interval=i,
                )
                for name, i in intervals.items()
            },
        }
    )
    assert said in fastest(record)
    assert bool(said) == bool(fastest(record))
