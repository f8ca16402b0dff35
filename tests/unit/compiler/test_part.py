"""Compile one part of a network that cannot be captured as a whole, and put it back."""

import copy

import pytest
import torch
from torch import Tensor, nn

import compactmtl as cm
from compactmtl.compact import load
from compactmtl.errors import CaptureError, UsageError, VerificationError

IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Encoder(nn.Module):
    """Takes a scale by name; returns two feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 6, 3, stride=2, padding=1)

    def forward(self, image: Tensor, scale: Tensor) -> list[Tensor]:
        x = torch.relu(self.first(image) * scale)
        return [x[:, :2], torch.relu(self.second(x))]


class Branching(nn.Module):
    """Branches on data, so that the whole cannot be captured."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Conv2d(6, 2, 1)
        self.unused = nn.Conv2d(6, 2, 1)
        with torch.no_grad():
            self.encoder.second.weight[:, 3:6] = 0

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        low, high = self.encoder(image, scale=image.mean((1, 2, 3), keepdim=True))
        if high.mean() > 1e9:
            high = high / 2
        return {"seg": self.head(high), "low": low}


@pytest.fixture
def net() -> Branching:
    """Return it in eval mode."""
    torch.manual_seed(0)
    return Branching().eval()


def test_the_part_is_compiled_and_stitched_back(net, tmp_path) -> None:
    with pytest.raises(CaptureError, match=r"if high\.mean\(\) > 1e9"):
        cm.compress(net, IMAGE, dynamic=False)
    before = copy.deepcopy(net.state_dict())
    other = torch.rand(1, 3, 16, 16)
    compact = cm.compress(net, IMAGE, part="encoder", images=[other], objective="macs")
    assert compact.manifest.part == "encoder"
    assert [spec.name for spec in compact.manifest.inputs] == ["image", "scale"]
    assert compact.module.get_parameter("first.weight").shape[0] == 5
    assert compact.report.part["num_inputs"] == 2
    assert compact.report.part["rms_change_of_whole"] < 1e-6
    expected = net(other)
    compact.save(tmp_path / "model.pt2")
    for part in (load(tmp_path / "model.pt2"), compact):
        whole = copy.deepcopy(net)
        assert cm.stitch(whole, part) is whole
        assert whole.encoder is part.module
        torch.testing.assert_close(whole(other), expected, rtol=1e-5, atol=1e-6)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert isinstance(net.encoder, Encoder)


def test_a_stitched_part_trains_with_its_network(net) -> None:
    whole = cm.stitch(net, cm.compress(net, IMAGE, part="encoder", dynamic=False))
    whole.train()
    whole(IMAGE)["seg"].square().mean().backward()
    gradient = whole.get_parameter("encoder.first.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_a_part_that_is_wired_wrongly_is_found(net, monkeypatch) -> None:
    from compactmtl.compiler import part

    def wrong(model: nn.Module, compact: cm.CompactModel) -> nn.Module:
        whole = cm.stitch(model, compact)
        with torch.no_grad():
            whole.get_parameter("encoder.second.weight").mul_(1.5)
        return whole

    monkeypatch.setattr(part, "stitch", wrong)
    with pytest.raises(VerificationError, match=r"compact part `encoder` differs by"):
        cm.compress(net, IMAGE, part="encoder", dynamic=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encodr", "no part called `encodr`; did you mean `encoder`"),
        ("", "no part called ``"),
        ("unused", "`unused` is never called"),
    ],
)
def test_a_part_that_is_none_is_refused(net, name, words) -> None:
    with pytest.raises(UsageError, match=words):
        cm.compress(net, IMAGE, part=name)


def test_what_does_not_go_together_is_refused(net) -> None:
    with pytest.raises(UsageError, match="keeps all of its outputs"):
        cm.compress(net, IMAGE, part="encoder", keep_outputs=["seg"])
    whole = cm.compress(net.head, torch.rand(2, 6, 4, 4), dynamic=False)
    with pytest.raises(UsageError, match="is a whole network"):
        cm.stitch(net, whole)
    part = cm.compress(net, IMAGE, part="encoder", dynamic=False)
    with pytest.raises(UsageError, match="no part called `encoder`"):
        cm.stitch(nn.Sequential(nn.Conv2d(3, 2, 1)), part)


class Repeats(nn.Module):
    """Calls its block twice, and once with a number."""

    def __init__(self, exponent: int | None) -> None:
        super().__init__()
        self.block = Block()
        self.exponent = exponent

    def forward(self, image: Tensor) -> Tensor:
        x = self.block(self.block(image))
        return x if self.exponent is None else self.block(x, self.exponent)


class Block(nn.Module):
    """Takes a number beside its tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: Tensor, exponent: int = 1) -> Tensor:
        return torch.relu(self.conv(image)) ** exponent


def test_every_call_is_verified_and_only_tensors_are_taken() -> None:
    compact = cm.compress(Repeats(None), IMAGE, part="block", dynamic=False)
    assert compact.report.part["num_calls"] == 2
    assert compact.report.verification["num_inputs"] == 2
    with pytest.raises(UsageError, match=r"called with \(Tensor, int\)"):
        cm.compress(Repeats(2), IMAGE, part="block", dynamic=False)
