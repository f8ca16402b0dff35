"""Every network goes the whole way: expand by each method, contract, compress, each exporter."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

import compactmtl.overparam as op
from compactmtl.compiler import compress
from compactmtl.errors import MissingExtraError
from compactmtl.export import TARGETS, export, find_target
from compactmtl.export.options import Options
from compactmtl.models import MODELS
from compactmtl.overparam.kernel import expanded_layers

TASKS = {"seg": 5, "depth": 1, "normals": 3}
DEEPLAB = {"width": 0.125, "head_channels": 8, "rates": (1, 2)}
NETWORKS = {
    "segnet": ("segnet", {"widths": (4, 8, 8)}),
    "segnet_s": ("segnet_s", {"widths": (4, 8)}),
    "deeplab_resnet18": ("deeplab_resnet18", DEEPLAB),
    "deeplab_resnet50": ("deeplab_resnet50", DEEPLAB),
    "mtan_segnet": ("mtan_segnet", {"widths": (4, 8)}),
    "mtan_deeplab": ("mtan_deeplab", DEEPLAB | {"depth": 18}),
    "cross_stitch scalar": ("cross_stitch", {"widths": (4, 8), "unit": "scalar"}),
    "cross_stitch channel": ("cross_stitch", {"widths": (4, 8), "unit": "channel"}),
    "cross_stitch shared": ("cross_stitch", {"widths": (4, 8), "unit": "shared"}),
    "resnet_classifier": ("resnet_classifier", {"depth": 18, "width": 0.125}),
}
STATUS = dict.fromkeys(TARGETS, "ran") | {
    "tensorrt": "prepared",  # built where TensorRT is installed, on a GPU
    "tensorrt-rtx": "built only",
    "coreml": "built only",
}
# Kernels of 5x5 on: SegNets, classifiers and MTAN's own layers have none.
LARGE_KERNELS = ("deeplab_resnet18", "deeplab_resnet50", "mtan_deeplab")

pytestmark = pytest.mark.slow


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    factory, options = NETWORKS[name]
    return MODELS[factory](TASKS, **options).eval()


def picture() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def train_a_step(network: nn.Module, image: torch.Tensor) -> None:
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    torch.stack([y.square().mean() for y in network(image).values()]).sum().backward()
    optimizer.step()
    network.eval()


def test_every_network_of_one_graph_is_tried():
    in_parts = {"panoptic_fpn"}  # part by part: tests/unit/compiler/test_network.py
    assert {factory for factory, _ in NETWORKS.values()} == set(MODELS) - in_parts


@pytest.mark.parametrize("method", op.METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_expanded_trained_and_contracted(name, method):
    network, image = make(name).double(), picture().double()
    dense, keys = network(image), list(network.state_dict())
    if method == "expandnet_ck" and name not in LARGE_KERNELS:
        pytest.skip("it has no kernel from 5x5 on")
    # A 7x7 kernel is no product of three 3x3 kernels in general: another one is drawn.
    init = "direct" if method == "expandnet_ck" else "spectral"
    op.expand(network, tasks=list(TASKS), method=method, init=init)
    if init == "spectral":
        for task, output in network(image).items():
            torch.testing.assert_close(output, dense[task], rtol=1e-9, atol=1e-9)
    train_a_step(network, image)
    expected = network(image)
    contracted = op.contract(copy.deepcopy(network))
    assert sorted(contracted.state_dict()) == sorted(keys)
    for task, output in contracted(image).items():
        torch.testing.assert_close(output, expected[task], rtol=1e-9, atol=1e-9)


@cache
def folder(name: str, root: str) -> str:
    """Expand, train, remove some channels, compress; return the compact folder."""
    network = make(name)
    op.expand(network, tasks=list(TASKS))
    train_a_step(network, picture())
    with torch.no_grad():
        for _, layer, factors in expanded_layers(network):
            inn = layer.weight.shape[1]
            if inn >= 8:  # columns of V are those of the kernel: whole input channels go
                factors.V.reshape(factors.rank, inn, -1)[:, ::4] = 0.0
    compact = compress(network, picture())
    assert compact.report.max_rel_error < 1e-4
    assert compact.report.after.num_params < compact.report.before.num_params
    assert op.is_expanded(network)
    compact.save(f"{root}/model.pt2")
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: str(tmp_path_factory.mktemp("network")) for name in NETWORKS}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_its_compact_model_is_exported(name, target, folders):
    path = f"{folders[name]}/{find_target(target).file_name('compact', 'fp32')}"
    # In fp32 TensorRT-RTX has no product for GPUs before 8.0, and refuses with that reason.
    options = Options(compute_capabilities=("8.9",)) if target == "tensorrt-rtx" else None
    try:
        sidecar = export(folder(name, folders[name]), path, target=target, options=options)
    except MissingExtraError as error:
        pytest.skip(error.message)
    assert [output.name for output in sidecar.outputs] == list(TASKS)
    assert sidecar.verified.status == STATUS[target]
