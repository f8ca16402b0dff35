"""Small networks of families that torchvision's zoo does not hold: exact, and really smaller."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from random_grouped_nets import randomise_grouped
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compactmtl.compact import load
from compactmtl.compiler import compress
from compactmtl.errors import CaptureError


def conv(columns: int, rows: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(columns, rows, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(rows),
        nn.ReLU(inplace=True),
    )


class Res2Net(nn.Module):
    """Channels in four parts; each is convolved together with the result of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.widen = conv(3, 16), conv(16, 16, 1)
        self.parts = nn.ModuleList(conv(4, 4) for _ in range(3))
        self.join, self.head = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        first, *others = torch.split(self.widen(x), 4, 1)
        done = [first]
        for part, other in zip(self.parts, others, strict=True):
            done.append(part(other + done[-1] if len(done) > 1 else other))
        return self.head(F.relu(x + self.join(torch.cat(done, 1))))


class HRNet(nn.Module):
    """Two resolutions that exchange with each other, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = conv(3, 8), conv(8, 12, stride=2)
        self.fine = nn.ModuleList(conv(8, 8) for _ in range(2))
        self.coarse = nn.ModuleList(conv(12, 12) for _ in range(2))
        self.to_fine = nn.ModuleList(nn.Conv2d(12, 8, 1) for _ in range(2))
        self.to_coarse = nn.ModuleList(nn.Conv2d(8, 12, 3, 2, 1) for _ in range(2))
        self.head = nn.Conv2d(20, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        a = self.stem(image)
        b = self.down(a)
        for i in range(2):
            x, y = a + self.fine[i](a), b + self.coarse[i](b)
            up = F.interpolate(self.to_fine[i](y), size=x.shape[-2:], mode="nearest")
            a, b = F.relu(x + up), F.relu(y + self.to_coarse[i](x))
        b = F.interpolate(b, size=a.shape[-2:], mode="bilinear", align_corners=False)
        return self.head(torch.cat([a, b], 1))


class RetinaNet(nn.Module):
    """A feature pyramid with two heads that all levels share, one of them with group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.ModuleList([conv(3, 8), conv(8, 12, stride=2), conv(12, 16, stride=2)])
        self.lateral = nn.ModuleList(nn.Conv2d(n, 8, 1) for n in (8, 12, 16))
        self.smooth = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.extra = nn.Conv2d(8, 8, 3, 2, 1)
        self.classes = nn.Sequential(*conv(8, 8), *conv(8, 8), nn.Conv2d(8, 6, 3, padding=1))
        self.boxes = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 4, 1)
        )

    def forward(self, image: Tensor) -> dict[str, list[Tensor]]:
        features = list(itertools.accumulate(self.bottom, lambda x, level: level(x), initial=image))
        top, levels = None, []
        for i in reversed(range(3)):
            side = self.lateral[i](features[i + 1])
            top = side if top is None else side + F.interpolate(top, size=side.shape[-2:])
            levels.append(self.smooth[i](top))
        levels.insert(0, self.extra(levels[0].relu()))
        return {"classes": [self.classes(p) for p in levels], "boxes": [*map(self.boxes, levels)]}


class UNet(nn.Module):
    """Transposed convolutions up, skips by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 12), conv(12, 16)
        self.up_b, self.up_a = nn.ConvTranspose2d(16, 12, 2, 2), nn.ConvTranspose2d(12, 8, 4, 2, 1)
        self.join_b, self.join_a = conv(24, 12), conv(16, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        a = self.a(image)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        b = self.join_b(torch.cat([b, self.up_b(c)], 1))
        return self.head(self.join_a(torch.cat([self.up_a(b), a], 1)))


class PixelShuffle(nn.Module):
    """Super-resolution: residual blocks, then channels become positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = conv(3, 12), conv(12, 12), nn.Conv2d(12, 16, 3, padding=1)
        self.head = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        return self.head(F.leaky_relu(F.pixel_shuffle(self.two(x + self.one(x)), 2), 0.1))


class Pads(nn.Module):
    """Pads of every mode, with zero, with another number, and of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([
            nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, padding=1,
                                                            padding_mode="circular"),
            nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(12, 4, 3, padding=1),
        ])  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        x = self.convs[0](F.pad(image, (1, 1, 1, 1), value=0.5)).relu()
        x = self.convs[1](F.pad(x, (1, 1, 1, 1), mode="reflect")).relu()
        x = self.convs[2](x).relu()
        x = self.convs[3](F.pad(x, (2, 0, 1, 1), mode="replicate")).relu()
        x = self.convs[4](F.pad(x, (1, 1, 1, 1), value=-1.0)).relu()
        return self.convs[5](F.pad(x, (0, 0, 0, 0, 1, 3), value=0.25))


class Flattened(nn.Module):
    """Linear layers after flatten, after view, and over the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.more = conv(3, 8), conv(8, 8, stride=2)
        self.one, self.two = nn.Linear(8 * 4, 12), nn.Linear(8, 6)
        self.out, self.mixed = nn.Linear(18, 4), nn.Linear(8, 5)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.more(self.stem(image))
        small = F.adaptive_avg_pool2d(x, 2)
        a = self.one(torch.flatten(small, 1)).relu()
        b = self.two(F.adaptive_avg_pool2d(x, 1).view(x.shape[0], -1)).relu()
        last = self.mixed(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return {"classes": self.out(torch.cat([a, b], 1)), "dense": last}


class Gates(nn.Module):
    """Squeeze and excitation, ECA (a convolution along the channels) and a selective kernel."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.stem, self.other, self.head = kind, conv(3, 12), conv(12, 12), conv(12, 4)
        self.squeeze, self.excite = nn.Conv2d(12, 6, 1), nn.Conv2d(6, 24, 1)
        self.along = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        y = self.other(x)
        if self.kind == "eca":
            weight = self.along(y.mean((2, 3)).unsqueeze(1)).squeeze(1).sigmoid()
            return self.head(x + y * weight[:, :, None, None])
        squeezed = self.squeeze((x + y).mean((2, 3), keepdim=True)).relu()
        one, two = self.excite(squeezed).chunk(2, 1)
        if self.kind == "se":
            return self.head(x + y * (one + two).sigmoid())
        first, second = torch.stack([one, two], 1).softmax(1).unbind(1)
        return self.head(x * first + y * second)


class Stacked(nn.Module):
    """Branches stacked, and others side by side along the positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 12), conv(12, 4)
        self.branches = nn.ModuleList(conv(12, 12) for _ in range(3))
        self.tokens = nn.Linear(12, 12)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        a, b, c = (branch(x) for branch in self.branches)
        best = torch.stack([a, b], dim=-1).amax(-1)
        flat = torch.cat([best.flatten(2), c.flatten(2).relu()], 2)
        tokens = self.tokens(flat.mean(2))
        return self.head(x + tokens[:, :, None, None])


class Features(nn.Module):
    """A backbone whose features are outputs too, nested."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = conv(3, 8), conv(8, 12), conv(12, 12), conv(12, 4)

    def forward(self, image: Tensor) -> dict[str, Any]:
        a = self.a(image)
        b = self.b(F.max_pool2d(a, 2))
        return {"out": self.head(self.c(b)), "features": {"low": a, "all": (b, [a.mean((2, 3))])}}


class Guided(nn.Module):
    """Several inputs: one by position, one by name, some in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.hint, self.joined = conv(3, 8), conv(2, 8), conv(16, 8)
        self.embed, self.head = nn.Linear(5, 8), nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor, more: dict[str, Tensor], *, hint: Tensor) -> list[Tensor]:
        x = self.joined(torch.cat([self.image(image), self.hint(hint)], 1))
        x = x * self.embed(more["code"])[:, :, None, None].sigmoid()
        return [self.head(x), x.mean((2, 3))[:, :2] + more["bias"]]


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "res2net": Res2Net, "hrnet": HRNet, "retinanet": RetinaNet, "unet": UNet,
    "pixel_shuffle": PixelShuffle, "pads": Pads, "flatten": Flattened, "features": Features,
    "se": functools.partial(Gates, "se"), "sk": functools.partial(Gates, "sk"),
    "stacked": Stacked,
}  # fmt: skip


def check_same(network: nn.Module, compact, *inputs: Tensor, **named: Any) -> None:
    with torch.no_grad():
        expected = tree_leaves(network(*inputs, **named))
        got = tree_leaves(compact.module(*inputs, *tree_leaves(named)))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", ["latency", "macs"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_compiles_exactly_and_fully(name: str, objective: str) -> None:
    torch.manual_seed(0)
    network = randomise_grouped(FAMILIES[name](), 1)
    compact = compress(network, torch.rand(2, 3, 16, 16), objective=objective)
    report = compact.report
    assert report.opaque == []
    assert compact.manifest.inputs[0].dynamic == {0: "batch", 2: "height", 3: "width"}
    assert report.after.num_params < 0.7 * report.before.num_params
    assert report.after.macs < 0.7 * report.before.macs
    check_same(network, compact, torch.rand(1, 3, 24, 20))


def test_nested_outputs_have_dotted_names() -> None:
    network = randomise_grouped(Features(), 1)
    compact = compress(network, torch.rand(2, 3, 16, 16), dynamic=False)
    names = ["out", "features.low", "features.all.0", "features.all.1.0"]
    assert compact.manifest.output_names == names
    assert set(compact.module(torch.rand(2, 3, 16, 16))) == {"out", "features"}


def test_inputs_by_name_and_in_dicts_become_inputs_with_dotted_names(tmp_path) -> None:
    network = randomise_grouped(Guided(), 2)

    def inputs(batch: int, height: int) -> dict[str, Any]:
        more = {"code": torch.rand(batch, 5), "bias": torch.rand(batch, 2)}
        hint = torch.rand(batch, 2, height, 16)
        return {"image": torch.rand(batch, 3, height, 16), "hint": hint, "more": more}

    compact = compress(network, inputs(1, 16), images=[inputs(1, 16)])
    assert compact.manifest.input_names == ["image", "hint", "more.code", "more.bias"]
    assert compact.manifest.output_names == ["output", "output_1"]
    assert compact.report.opaque == []
    assert compact.report.after.num_params < 0.7 * compact.report.before.num_params
    check_same(network, compact, **inputs(3, 24))
    compact.save(tmp_path / "model.pt2")
    check_same(network, load(tmp_path / "model.pt2"), **inputs(2, 16))
    again = compress(compact.module, tuple(tree_leaves(inputs(1, 16))))
    assert again.report.after == compact.report.after


def test_one_dict_as_the_only_argument() -> None:
    class Batched(UNet):
        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"out": super().forward(batch["image"]) + batch["bias"]}

    network = randomise_grouped(Batched(), 1)
    batch = {"bias": torch.rand(2, 1, 1, 1), "image": torch.rand(2, 3, 16, 16)}
    compact = compress(network, [batch])
    assert compact.manifest.input_names == ["batch.bias", "batch.image"]
    check_same(network, compact, batch=batch)


class SelfAttention(nn.Module):
    """A convolutional network with attention between, written by hand or torch's own."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.stem, self.before, self.after = kind, conv(3, 8), conv(8, 8), conv(8, 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, image: Tensor) -> Tensor:
        x = self.before(self.stem(image))
        tokens = x.flatten(2).transpose(1, 2)
        if self.kind == "module":
            mixed, _ = self.attention(tokens, tokens, tokens)
        else:
            q, k, v = self.qkv(tokens).chunk(3, -1)
            scores = (q @ k.transpose(1, 2) / 8**0.5).softmax(-1)  # here
            mixed = self.out(scores @ v)
        return self.after((tokens + mixed).transpose(1, 2).reshape(x.shape))


def line_of(text: str) -> int:
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123
        return 1 + next(i for i, line in enumerate(file) if text in line)


@pytest.mark.parametrize(
    ("kind", "op", "line"),
    [
        ("module", "", "mixed, _ = self.attention"),
        ("by hand", "matmul", "(q @ k.transpose(1, 2) / 8**0.5).softmax(-1)  # here"),
    ],
)
def test_attention_is_opaque_exact_and_named_with_the_users_line(
    kind: str, op: str, line: str
) -> None:
    network = randomise_grouped(SelfAttention(kind), 1)
    compact = compress(network, torch.rand(2, 3, 8, 8))
    rows = compact.report.opaque
    assert rows
    assert all(row["why"] and row["source"].startswith(f"{__file__}:") for row in rows)
    assert f"{__file__}:{line_of(line)}" in [row["source"] for row in rows]
    assert not op or op in [row["op"] for row in rows]
    # before and after the attention the network still shrinks
    assert compact.report.after.num_params < 0.9 * compact.report.before.num_params
    check_same(network, compact, torch.rand(1, 3, 12, 8))


def test_a_gate_that_runs_along_the_channels_is_exact_and_named() -> None:
    network = randomise_grouped(Gates("eca"), 1)
    compact = compress(network, torch.rand(2, 3, 16, 16))
    assert [row["op"] for row in compact.report.opaque] == ["conv1d", "squeeze"]
    check_same(network, compact, torch.rand(1, 3, 24, 16))


def test_an_op_of_somebodys_library_is_opaque_and_named() -> None:
    @torch.library.custom_op("compactmtl_test::mirror", mutates_args=())
    def mirror(x: Tensor) -> Tensor:
        return x.flip(1).relu()

    @mirror.register_fake
    def _(x: Tensor) -> Tensor:
        return torch.empty_like(x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = conv(3, 8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, image: Tensor) -> Tensor:
            return self.c(mirror(self.b(self.a(image))))  # the call

    network = randomise_grouped(Net(), 1)
    compact = compress(network, torch.rand(2, 3, 8, 8), dynamic=False)
    (row,) = compact.report.opaque
    assert row["op"].endswith("mirror")
    assert row["source"] == f"{__file__}:{line_of('(image))))  # the call')}"
    assert next(r for r in compact.report.layers if r["name"] == "b")["out_after"] == 8
    check_same(network, compact, torch.rand(2, 3, 8, 8))


def test_outputs_that_are_no_tensors_are_refused_by_name() -> None:
    class Net(UNet):
        def forward(self, image: Tensor) -> dict[str, Any]:
            return {"out": super().forward(image), "aux": [None]}

    with pytest.raises(CaptureError, match=r"returns a NoneType as output `aux\.0`"):
        compress(Net(), torch.rand(1, 3, 16, 16))
