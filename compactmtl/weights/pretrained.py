"""Pretrained ResNet weights from a local file, under torchvision's names, into a network's encoder.

torchvision's files were trained on images with ImageNet's mean taken off and its deviation divided
out; the networks here take images in 0 to 1. The difference is folded into the first convolution
and its batch norm: W' = W / std per input channel, and the running mean grows by what the images'
mean gives, sum W' mean. That is exact but for the image's border, where padding is black and was
the mean colour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from compactmtl.errors import RecipeError, WeightsError
from compactmtl.weights.fit import fit_weights
from compactmtl.weights.load import State, load_weights

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's images in 0 to 1, RGB, as torchvision's weights expect."""
STEM = ("conv1", "bn1")
FIRST = "layer1.0.conv1.weight"
"""By this name a ResNet is found in a file, whatever stands before it."""
DEPTHS: dict[tuple[tuple[int, ...], bool], int] = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}
"""Depth by the blocks of the four stages, and whether they are bottlenecks."""


@dataclass(frozen=True)
class PretrainedReport:
    """What was taken from a file and what was not."""

    source: str
    part: str
    """The network's part that the weights went into."""
    num_loaded: int
    unused: tuple[str, ...]
    """Weights of the file that the part has no place for."""
    untouched: tuple[str, ...]
    """Weights of the network that stay as they were initialised."""
    is_stem_left: bool
    """Whether the first convolution was left out: its kernel has another size in the file."""
    images: str

    def lines(self) -> list[str]:
        """Return what a user should know, line by line."""
        lines = [f"pretrained: {self.num_loaded} weights from {self.source} into `{self.part}`"]
        if self.is_stem_left:
            lines.append(
                "pretrained: the first convolution is of another size there; it and its batch norm "
                "stay as initialised"
            )
        elif self.images == "imagenet":
            lines.append(
                "pretrained: ImageNet's mean and deviation are folded into the first convolution "
                "and its batch norm, so that images in 0 to 1 fit"
            )
        lines.append(f"pretrained: not used: {_groups(self.unused) or 'nothing'}")
        lines.append(f"pretrained: stays as initialised: {_groups(self.untouched) or 'nothing'}")
        return lines


def load_pretrained(
    model: nn.Module, path: str | Path, *, images: Literal["imagenet", "plain"] = "imagenet"
) -> PretrainedReport:
    """Load a ResNet's weights into the part of a network that says it is one; all or nothing.

    The file may hold a ResNet (torchvision's ``resnet50``, ...) or a network around one
    (``deeplabv3_resnet50``, ...), as safetensors or as torch saved it; no code in it is run.

    Args:
        model: A network with a class variable ``pretrained_part``, the name of its ResNet.
        path: The file.
        images: What the file's network was trained on: ``imagenet``, images normalised as
            torchvision does; ``plain``, images in 0 to 1.

    Raises:
        RecipeError: The network has no such part.
        WeightsError: The file holds no ResNet, or one of another depth or width.
        MissingFileError, CorruptFileError, UnsafeFileError, NonFiniteError: As ``load_weights`` and
            ``fit_weights``.
    """
    part = getattr(type(model), "pretrained_part", None)
    if part is None:
        raise RecipeError(
            f"model.pretrained: network {type(model).__name__} has no part that a ResNet's weights "
            "fit",
            hint="networks that have: deeplab_resnet18, deeplab_resnet50, mtan_deeplab, "
            "resnet_classifier; train.init loads weights of the very network",
        )
    state, how = load_weights(path)
    source = f"`{path}` ({how})"
    resnet = model.get_submodule(part)
    inner, unused = _resnet_in(state, resnet, source)
    _check_depth(inner, resnet, source)
    own = resnet.state_dict()
    is_stem_left = inner["conv1.weight"].shape[2:] != own["conv1.weight"].shape[2:]
    stem = {name for name in own if name.partition(".")[0] in STEM}
    if is_stem_left:
        unused += [name for name in inner if name in stem]
        inner |= {name: own[name] for name in stem}
    elif images == "imagenet":
        inner = fold_normalisation(inner)
    report = fit_weights(resnet, inner, source=source)
    kept = stem if is_stem_left else set()
    loaded = {f"{part}.{name}" for name in own if name not in kept}
    return PretrainedReport(
        source=source,
        part=part,
        num_loaded=report.num_matched - len(kept),
        unused=tuple(unused),
        untouched=tuple(name for name in model.state_dict() if name not in loaded),
        is_stem_left=is_stem_left,
        images=images,
    )


def fold_normalisation(state: Mapping[str, Tensor]) -> State:
    """Return a ResNet's weights for images in 0 to 1 instead of normalised ones; see above."""
    weight = state["conv1.weight"].double() / torch.tensor(STD, dtype=torch.float64).view(
        1, 3, 1, 1
    )
    shift = (weight * torch.tensor(MEAN, dtype=torch.float64).view(1, 3, 1, 1)).sum(dim=(1, 2, 3))
    mean = state["bn1.running_mean"]
    return dict(state) | {
        "conv1.weight": weight.to(state["conv1.weight"].dtype),
        "bn1.running_mean": (mean.double() + shift).to(mean.dtype),
    }


def _resnet_in(state: State, resnet: nn.Module, source: str) -> tuple[State, list[str]]:
    """Return the ResNet's weights without their prefix, and the names of all others."""
    prefixes = [name.removesuffix(FIRST) for name in state if name.endswith(FIRST)]
    if len(prefixes) != 1:
        found = f"{len(prefixes)} of them ({', '.join(prefixes)})" if prefixes else "none"
        some = ", ".join(f"`{name}`" for name in list(state)[:3])
        raise WeightsError(
            f"{source} holds {found}, expected one ResNet under torchvision's names "
            f"(`{FIRST}`, ...)" + ("" if prefixes else f"; it holds {some}, ..."),
            hint="is it a file of torchvision's resnet50, or of a network around one? "
            "train.init loads weights of the very network",
        )
    stages = tuple(f"layer{stage}." for stage in range(1, 5))
    inner = {
        name.removeprefix(prefixes[0]): tensor
        for name, tensor in state.items()
        if name.startswith(prefixes[0])
    }
    known = {n: t for n, t in inner.items() if n.startswith((*stages, *(f"{s}." for s in STEM)))}
    lacking = next((n for n in ("conv1.weight", "bn1.running_mean") if n not in known), None)
    if lacking is not None:
        raise WeightsError(
            f"{source} has no `{prefixes[0]}{lacking}`, expected torchvision's names"
        )
    used = {prefixes[0] + name for name in known}
    return known, [name for name in state if name not in used]


def _check_depth(inner: State, resnet: nn.Module, source: str) -> None:
    """Refuse a ResNet of another depth by its name, rather than by the first weight that lacks."""
    got, expected = _depth(inner), _depth(resnet.state_dict())
    if got != expected:
        raise WeightsError(
            f"{source} is {got}, the network's encoder is {expected}",
            hint="take the file of that depth, or set model.args.depth",
        )


def _depth(state: Mapping[str, Tensor]) -> str:
    blocks = tuple(
        len({n.split(".")[1] for n in state if n.startswith(f"layer{stage}.")})
        for stage in range(1, 5)
    )
    depth = DEPTHS.get((blocks, "layer1.0.conv3.weight" in state))
    shown = ", ".join(str(number) for number in blocks)
    return f"a ResNet-{depth}" if depth else f"a ResNet of {shown} blocks"


def _groups(names: tuple[str, ...]) -> str:
    """Return names by their first parts, with how many there are of each."""
    counts: dict[str, int] = {}
    for name in names:
        head = name.split(".")[0]
        counts[head] = counts.get(head, 0) + 1
    return ", ".join(f"{head} ({number})" for head, number in counts.items())
