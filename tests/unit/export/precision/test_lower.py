from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from compactmtl.errors import ExportError
from compactmtl.export.base import make_job
from compactmtl.export.cases import random_inputs
from compactmtl.export.labelled import Labelled, Unlabelled
from compactmtl.export.onnx import OnnxExporter
from compactmtl.export.onnx_convert import convert
from compactmtl.export.onnx_run import Session
from compactmtl.export.options import Options
from compactmtl.export.precision.int8 import Int8
from compactmtl.export.precision.layers import constants
from compactmtl.export.precision.lower import lower
from compactmtl.export.sidecar import Parent
from compactmtl.export.stored import Stored
from compactmtl.multitask import task_from_spec

PARENT = Parent(file="model.pt2", sha256="0" * 64)
SEG = {"kind": "segmentation", "num_channels": 4, "num_classes": 4}
SIZE = (16, 24)
LIMIT = 0.06
"""Relative RMS that this network stays below in int8, but for the planted layer."""


class Chain(nn.Module):
    """Layers ``a`` to ``d``; ``bad`` gives ``c`` weights on one channel a thousand times as large.

    That channel is 0 always, so in fp32 the network computes the same. In int8 these weights set
    the scale of all of ``c``, and leave nothing of the others.
    """

    def __init__(self, bad=True):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 8, 3, padding=1)
        self.d = nn.Conv2d(8, 5, 1)
        with torch.no_grad():
            for layer in self.children():
                nn.init.kaiming_normal_(layer.weight)
                layer.bias.zero_()
            self.b.weight[2] = 0
            self.c.weight[:, 2] *= 1e3 if bad else 1

    def forward(self, image):
        x = torch.relu(self.b(torch.relu(self.a(image))))
        y = self.d(torch.relu(self.c(x)))
        return {"seg": y[:, :4], "rest": y[:, 4:]}


class Teacher:
    """Images labelled with what the fp32 network says, one pixel in ten otherwise."""

    def __init__(self, network, num):
        generator = torch.Generator().manual_seed(7)
        self.images = torch.rand((num, 3, *SIZE), generator=generator)
        with torch.no_grad():
            self.labels = network(self.images)["seg"].argmax(1)
        noise = torch.rand(self.labels.shape, generator=generator) < 0.1
        other = torch.randint(0, 4, self.labels.shape, generator=generator)
        self.labels = torch.where(noise, other, self.labels)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], {"seg": self.labels[index]}


@pytest.fixture(scope="module")
def network():
    return Chain().eval()


@pytest.fixture(scope="module")
def program(network, capture_program):
    return capture_program(network, torch.rand(2, 3, *SIZE))


@pytest.fixture(scope="module")
def interface(make_interface):
    return make_interface(["image"], ["seg", "rest"], {"seg": SEG})


@pytest.fixture(scope="module")
def labelled(network):
    tasks = {"seg": task_from_spec("seg", SEG)}
    return Labelled(Teacher(network, 10), tasks, "images of a teacher", "image")


@pytest.fixture(scope="module")
def calibration():
    generator = torch.Generator().manual_seed(5)
    return Stored({"image": torch.rand((6, 3, *SIZE), generator=generator).numpy()}, "noise")


@pytest.fixture(scope="module")
def model(program, interface):
    return convert(program, interface, opset=20)


@pytest.fixture(scope="module")
def job(tmp_path_factory, program, interface, calibration):
    return make_job(
        program,
        interface,
        tmp_path_factory.mktemp("lower") / "model.int8.onnx",
        stored=random_inputs(program, interface),
        parent=PARENT,
        which="compact",
        options=Options(precision="int8"),
        calibration=calibration,
    )


@pytest.fixture(scope="module")
def run(model, job):
    """Lower the model; returns the lowered one and what was found."""

    def run(labels=None, progress=None, **max_drop):
        options = Options(precision="int8", max_drop=max_drop)
        wanted = replace(job, options=options, labelled=labels, progress=progress)
        return lower(model, wanted, "onnx", Session)

    return run


def kept(parity):
    return [layer.name for layer in parity.lowering.kept]


def session(model):
    return Session(model.SerializeToString(), "lowered")


def miou(run, data):
    got = run({"image": data.images.numpy()})["seg"].argmax(1)
    want = data.labels.numpy()
    hits = [((got == k) & (want == k)).sum() / ((got == k) | (want == k)).sum() for k in range(4)]
    return float(np.mean(hits))


def test_the_planted_layer_is_the_one_that_is_kept(run):
    _, whole = run()
    assert whole.per_task["seg"].rel_rms > 0.5
    lowered, parity = run(seg=LIMIT)
    assert kept(parity) == ["c"]
    assert parity.per_task["seg"].rel_rms <= LIMIT
    assert "c.weight" in constants(lowered)
    budget = parity.lowering.budgets["seg"]
    assert budget.measure == "relative RMS"
    assert budget.reached == parity.per_task["seg"].rel_rms
    assert parity.lowering.kept[0].costs["seg"] > 0.5


def test_without_the_plant_nothing_is_kept(capture_program, calibration):
    program = capture_program(Chain(bad=False).eval(), torch.rand(2, 3, *SIZE))
    model = convert(program, Names, opset=20)
    whole = Session(Int8(model, calibration, "onnx").build(()).SerializeToString(), "int8")
    want = Session(model.SerializeToString(), "fp32")(calibration.arrays)["seg"]
    got = whole(calibration.arrays)["seg"]
    assert np.linalg.norm(got - want) / np.linalg.norm(want) < LIMIT


class Names:
    input_names = ("image",)
    output_names = ("seg", "rest")


def test_metrics_are_those_of_a_count_by_hand(run, labelled, network):
    lowered, parity = run(labelled)
    assert parity.per_task["rest"].metric is None  # no task, no labels
    found = parity.per_task["seg"].metric
    with torch.no_grad():
        own = miou(
            lambda inputs: {"seg": network(labelled.images.images)["seg"].numpy()}, labelled.images
        )
    lower = miou(session(lowered), labelled.images)
    assert (found.name, found.higher_is_better) == ("miou", True)
    assert found.fp32 == pytest.approx(own, abs=1e-9)
    assert found.lower == pytest.approx(lower, abs=1e-9)
    assert found.change == pytest.approx(lower - own, abs=1e-9)
    assert found.change < -0.1
    assert parity.lowering.scored_on.model_dump() == {"source": "images of a teacher", "num": 10}
    assert parity.lowering.not_scored is None


def test_a_budget_is_of_the_metric_where_there_are_labels(run, labelled):
    _, whole = run(labelled)
    limit = -whole.per_task["seg"].metric.change / 4
    lowered, parity = run(labelled, seg=limit)
    assert kept(parity) == ["c"]
    assert parity.lowering.budgets["seg"].measure == "metric miou"
    fp32 = parity.per_task["seg"].metric.fp32
    drop = fp32 - miou(session(lowered), labelled.images)
    assert drop <= limit
    assert parity.lowering.budgets["seg"].reached == pytest.approx(drop, abs=1e-9)


def test_an_output_without_labels_is_held_to_its_rms(run, labelled):
    _, parity = run(labelled, rest=LIMIT)
    assert kept(parity) == ["c"]
    assert parity.lowering.budgets["rest"].measure == "relative RMS"


def test_why_there_is_no_metric(run):
    _, parity = run(Unlabelled("there was no time to label"))
    assert parity.lowering.not_scored == "there was no time to label"
    assert parity.per_task["seg"].metric is None


def test_labels_of_another_size_are_no_reason_to_fail(run, labelled):
    tasks = {"seg": task_from_spec("seg", {**SEG, "num_classes": 3, "num_channels": 3})}
    _, parity = run(Labelled(labelled.images, tasks, "images", "image"))
    assert "raw output is" in parity.lowering.not_scored
    assert parity.per_task["seg"].rel_rms > 0


def test_budgets_that_cannot_be_reached_write_nothing(job):
    steps = []
    impossible = replace(
        job,
        options=Options(precision="int8", max_drop={"seg": 0.0}),
        progress=lambda *step: steps.append(step),
    )
    with pytest.raises(ExportError, match=r"within seg 0; the best reached is seg .*of 4 layers"):
        OnnxExporter().export(impossible)
    assert list(job.path.parent.iterdir()) == []
    assert steps == [(number, 9) for number in range(1, 9)]


def test_the_same_search_gives_the_same_file(run):
    (first, found), (second, again) = (run(seg=LIMIT) for _ in range(2))
    assert again == found
    assert second.SerializeToString(deterministic=True) == first.SerializeToString(
        deterministic=True
    )
