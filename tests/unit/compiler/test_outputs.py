"""Compiling for some outputs only."""

import pytest
import torch
from random_nets import RandomNet, randomise
from torch import Tensor, nn

from compactmtl.compact import load
from compactmtl.compiler import compress, replay
from compactmtl.compiler.folder import write_folder
from compactmtl.complexity import count
from compactmtl.errors import UsageError

IMAGE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Split(nn.Module):
    """Two tasks: ``a`` reads the first four channels of the body, ``b`` the last four."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.a = nn.Conv2d(8, 2, 1)
        self.b = nn.Sequential(nn.Conv2d(8, 6, 3), nn.ReLU(True), nn.Conv2d(6, 1, 1))
        with torch.no_grad():
            self.a.weight[:, 4:] = 0
            self.b[0].weight[:, :4] = 0

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu_(self.body(image))
        return self.a(x), self.b(x)


class OnlyA(Split):
    """The same without the second task."""

    def __init__(self) -> None:
        super().__init__()
        del self.b

    def forward(self, image: Tensor) -> Tensor:
        return self.a(torch.relu_(self.body(image)))


def test_what_served_only_the_dropped_output_goes(compile_static) -> None:
    torch.manual_seed(0)
    net, only = Split(), OnlyA()
    compact = compile_static(net, *IMAGE.shape, output_names=["a", "b"], keep_outputs=["a"])
    only.load_state_dict(net.state_dict(), strict=False)
    for module in (compact.module, compact.dense):
        assert set(module(IMAGE)) == {"a"}
        torch.testing.assert_close(module(IMAGE)["a"], net(IMAGE)[0], rtol=1e-5, atol=1e-6)
        assert not any(name.startswith("b.") for name in module.state_dict())
    assert compact.module.get_parameter("body.weight").shape[0] == 4
    assert compact.manifest.output_names == ["a"]
    assert compact.manifest.all_outputs == ["a", "b"]
    alone, both = count(only.eval(), IMAGE), count(net.eval(), IMAGE)
    report = compact.report
    assert report.before.macs == alone.macs
    assert report.dropped["outputs"] == ["b"]
    assert report.dropped["macs"] == both.macs - alone.macs > 0
    assert report.dropped["num_params"] == both.num_params - alone.num_params > 0


def test_the_order_is_the_networks_and_all_outputs_may_stay(segnet, compile_static) -> None:
    options = {"tasks": {"seg": {"kind": "segmentation"}, "depth": {"kind": "depth"}}}
    compact = compile_static(segnet, *IMAGE.shape, keep_outputs=["depth", "seg"], **options)
    assert compact.manifest.output_names == list(compact.module(IMAGE)) == ["seg", "depth"]
    assert compact.report.dropped["macs"] == 0
    one = compile_static(segnet, *IMAGE.shape, keep_outputs=["depth"], **options)
    assert list(one.manifest.tasks) == ["depth"]


def test_a_saved_model_of_fewer_outputs_reloads(segnet, compile_static, tmp_path) -> None:
    compact = compile_static(segnet, *IMAGE.shape, keep_outputs=["depth"])
    compact.save(tmp_path / "model.pt2")
    loaded = load(tmp_path / "model.pt2")
    assert loaded.manifest == compact.manifest
    assert torch.equal(loaded.module(IMAGE)["depth"], compact.module(IMAGE)["depth"])


class Writes(nn.Module):
    """Writes into a view of its input's copy; ``y`` sees it, ``z`` checks a dropped value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.other = nn.Conv2d(3, 4, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.conv(image)
        half = x[:, :2]
        half.mul_(self.other(image)[:, :2])
        return {"y": x + 1, "z": self.other(image * 2).relu_()}


def test_a_write_into_memory_that_is_kept_stays(compile_static) -> None:
    net = Writes()
    expected = net(IMAGE)
    for name in ("y", "z"):
        compact = compile_static(net, *IMAGE.shape, keep_outputs=[name])
        torch.testing.assert_close(compact.module(IMAGE)[name], expected[name])
    assert "conv.weight" not in compact.dense.state_dict()


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (["segm"], "no output called `segm`; did you mean `seg`\\?"),
        ([], "at least one"),
        (["seg", "seg"], "none twice"),
    ],
)
def test_outputs_that_are_not_there_are_refused(segnet, compile_static, kept, words) -> None:
    with pytest.raises(UsageError, match=words) as error:
        compile_static(segnet, *IMAGE.shape, keep_outputs=kept)
    assert "the network has seg, depth" in error.value.message + error.value.hint


@pytest.mark.parametrize("seed", range(3))
def test_any_output_of_a_random_network_can_be_compiled_alone(seed, compile_static) -> None:
    net = randomise(RandomNet(seed), seed).eval()
    expected = net(IMAGE)
    names = list(expected)
    for name in names:
        compact = compile_static(net, *IMAGE.shape, keep_outputs=[name], objective="macs")
        assert list(compact.module(IMAGE)) == list(compact.dense(IMAGE)) == [name]
        torch.testing.assert_close(compact.dense(IMAGE)[name], expected[name], rtol=0, atol=0)
        saved = compact.report.dropped["num_params"]
        assert saved + compact.report.before.num_params >= compact.report.after.num_params


def test_a_model_of_fewer_outputs_is_rebuilt_from_its_folder(segnet, tmp_path) -> None:
    compact = compress(segnet, IMAGE, dynamic=False, keep_outputs=["depth"])
    write_folder(compact, tmp_path / "compact", images=[], origin="noise")
    again = replay(segnet, tmp_path / "compact")
    assert again.manifest.output_names == ["depth"]
    assert torch.equal(again.module(IMAGE)["depth"], compact.module(IMAGE)["depth"])
