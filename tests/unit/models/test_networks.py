"""What holds for every network."""

import copy
from fnmatch import fnmatchcase

import pytest
import torch
from torch import nn

TASKS = {"seg": 5, "depth": 1, "normals": 3}
READS = {
    "segnet": ["0"],
    "segnet_s": ["0"],
    "deeplab_resnet18": [*(f"branches.{i}.0" for i in range(4)), "pooled.0"],
    "deeplab_resnet50": [*(f"branches.{i}.0" for i in range(4)), "pooled.0"],
}


@pytest.fixture(params=list(READS))
def split(request, tiny):
    """One of the networks in which the heads alone read the shared encoder."""
    return request.param, tiny(request.param)


def layers(network):
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (97, 131), (45, 38)])
def test_outputs_are_in_task_order_at_the_size_of_the_image(network, size):
    outputs = network.eval()(torch.rand(2, 3, *size))
    assert list(outputs) == list(TASKS)
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        k: (2, channels, *size) for k, channels in TASKS.items()
    }


def test_capture_with_dynamic_batch_and_size_equals_eager(network):
    network.eval()
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        network, (torch.rand(2, 3, 64, 96),), dynamic_shapes=({0: auto, 2: auto, 3: auto},)
    )
    for shape in ((3, 3, 128, 64), (4, 3, 97, 131)):
        image = torch.rand(shape)
        with torch.no_grad():
            captured, eager = program.module()(image), network(image)
        assert list(captured) == list(eager)
        for key in eager:
            torch.testing.assert_close(captured[key], eager[key], rtol=0, atol=0)


def test_capture_oracle_fails_on_a_planted_error(network):
    network.eval()
    image = torch.rand(2, 3, 64, 96)
    captured = torch.export.export(copy.deepcopy(network), (image,)).module()(image)
    with torch.no_grad():
        list(network.heads["seg"].parameters())[-1][0] += 1e-3
        assert not torch.equal(captured["seg"], network(image)["seg"])
        assert torch.equal(captured["depth"], network(image)["depth"])


def test_gradient_of_every_task_reaches_the_encoder_and_its_own_head_only(split):
    _, network = split
    network.train()
    image = torch.rand(2, 3, 64, 96)
    for task in TASKS:
        network.zero_grad()
        network(image)[task].square().sum().backward()
        for name, parameter in network.named_parameters():
            own = name.startswith(("encoder.", f"heads.{task}."))
            reached = parameter.grad is not None and bool(parameter.grad.any())
            assert reached == own, name


def test_every_encoder_layer_is_declared_and_no_other(split):
    _, network = split
    matched = [n for n in layers(network) if any(fnmatchcase(n, p) for p in network.encoder_layers)]
    assert matched == [f"encoder.{n}" for n in layers(network.encoder)]


def test_head_reads_are_the_layers_that_read_the_encoder(split):
    name, network = split
    matched = {n for n in layers(network) if any(fnmatchcase(n, p) for p in network.head_reads)}
    assert matched == {f"heads.{task}.{read}" for task in TASKS for read in READS[name]}
    assert all(any(fnmatchcase(n, p) for n in matched) for p in network.head_reads)


def test_head_reads_are_found_by_tracing_too(split):
    _, network = split
    # Independent of names: such a layer is given the encoder's output, or its mean over the image.
    network.eval()
    produced, readers = {}, set()

    def remember(module, inputs, output):
        produced["pointer"] = output.data_ptr()
        produced["mean"] = output.mean(dim=(2, 3), keepdim=True)

    def watch(name):
        def hook(module, inputs):
            x = inputs[0]
            mean = produced["mean"]
            if x.data_ptr() == produced["pointer"] or (
                x.shape == mean.shape and torch.equal(x, mean)
            ):
                readers.add(name)

        return hook

    network.encoder.register_forward_hook(remember)
    for name, layer in layers(network).items():
        if name.startswith("heads."):
            layer.register_forward_pre_hook(watch(name))
    with torch.no_grad():
        network(torch.rand(1, 3, 64, 96))
    assert readers == {
        n for n in layers(network) if any(fnmatchcase(n, p) for p in network.head_reads)
    }
