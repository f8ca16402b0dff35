"""Devices and precisions: what cannot be honoured raises."""

import pytest
import torch

from compactmtl.errors import NotPossibleHereError, UsageError
from compactmtl.recipe import TrainSection
from compactmtl.training.device import available_devices, make_fabric


def test_the_cpu_is_always_there():
    assert available_devices()[0] == "cpu"
    fabric = make_fabric(TrainSection(device="cpu", precision="bf16-mixed"))
    assert fabric.device == torch.device("cpu")
    assert fabric.world_size == 1


def test_auto_takes_the_last_kind_there_is():
    kind = make_fabric(TrainSection(device="auto")).device.type
    assert kind == available_devices()[-1].partition(":")[0]


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "tpu:0", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(UsageError, match="no device called"):
        make_fabric(TrainSection(device=device))


def test_a_device_this_machine_lacks_is_refused_and_not_replaced():
    with pytest.raises(NotPossibleHereError, match="no `cuda:63`") as caught:
        make_fabric(TrainSection(device="cuda:63"))
    assert "cpu" in caught.value.hint


def test_half_precision_on_a_cpu_is_refused_and_not_replaced():
    with pytest.raises(NotPossibleHereError, match="16-mixed cannot run on cpu"):
        make_fabric(TrainSection(device="cpu", precision="16-mixed"))


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_every_phase_runs_in_other_precisions(train, precision):
    result = train(
        train={"epochs": 3, "precision": precision},
        overparam={"until": 0.34},
        sparsity={"schedule": "ramp", "lam": 0.1, "start": 0.34, "stop": 0.67},
    )
    dtype = torch.float64 if precision == "64-true" else torch.float32
    assert all(parameter.dtype == dtype for parameter in result.model.parameters())
    assert [row["phase"] for row in result.history] == ["overparam", "sparse", "debias"]
