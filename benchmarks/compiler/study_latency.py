"""Part 2: CPU time in ONNX Runtime, all variants of a network interleaved in one run."""

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bounds import bounds
from sparse_families import nets
from sparse_families.profile import MIRRORED, RESIDUAL, Corners, apply_profile
from sparse_families.sparsify import randomise_norms, zero_shares
from torch import Tensor, nn

from compactmtl.bench import bench
from compactmtl.compact import CompactModel
from compactmtl.compiler import compress
from compactmtl.compiler.source import load_source
from compactmtl.complexity import count
from compactmtl.export import export
from compactmtl.overparam import contract, is_expanded

SEED = 0
HEADS_SHARE = 0.7
OURS: dict[str, dict[str, Any]] = {
    "latency": {"objective": "latency"},
    "macs": {"objective": "macs"},
    "no_gather": {"objective": "latency", "gather": False},
}


@dataclass(frozen=True)
class Subject:
    """A sparse network and what it is fed."""

    network: nn.Module
    image: Tensor
    about: str


def residual() -> Subject:
    """Return ResNet-50 on the 70 % profile."""
    return Subject(sparse(nets.residual), picture(224), "ResNet-50")


def deeplab_backbone() -> Subject:
    """Return DeepLab with the profile on the backbone and dense heads."""
    network = sparse(nets.deeplab, keep=("heads",))
    return Subject(network, picture(256), "DeepLabV3-ResNet-50, 3 heads, backbone sparse")


def deeplab() -> Subject:
    """Return DeepLab with the profile on the backbone and 70 % in every layer of the heads."""
    network = sparse(nets.deeplab, keep=("heads",))
    zero_shares(network, lambda _: HEADS_SHARE, SEED + 3, keep=("encoder",))
    return Subject(network, picture(256), "DeepLabV3-ResNet-50, 3 heads, heads sparse too")


def segnet() -> Subject:
    """Return SegNet on the 70 % profile."""
    return Subject(sparse(nets.segnet, MIRRORED), picture(256), "SegNet")


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "resnet50": residual,
    "deeplab_backbone": deeplab_backbone,
    "deeplab": deeplab,
    "segnet": segnet,
}


def sparse(
    build: Callable[[], nn.Module], corners: Corners = RESIDUAL, keep: tuple[str, ...] = ()
) -> nn.Module:
    """Return a network with random weights, lived-in norms and the zero groups of the profile."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = build()
    return apply_profile(randomise_norms(network, SEED + 1), SEED + 2, corners, keep)


def picture(size: int) -> Tensor:
    """Return one image, uniform in [0, 1)."""
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(SEED))


def trained(run: Path) -> Subject:
    """Return a network of a training run, at the size it was trained on, batch 1."""
    source = load_source(run)
    network = contract(source.model.eval()) if is_expanded(source.model) else source.model
    inputs = source.example_inputs
    image = inputs if isinstance(inputs, Tensor) else inputs[0]
    return Subject(network.eval(), image[:1], "trained checkpoint")


def measure(
    names: Sequence[str], work: Path, *, seconds: float, rounds: int, threads: int,
    checkpoint: Path | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one row per network, printed as it is found."""
    subjects = {name: SUBJECTS[name] for name in names}
    if checkpoint is not None:
        subjects["trained"] = lambda: trained(checkpoint)
    return [
        study(name, make(), work / name, seconds=seconds, rounds=rounds, threads=threads)
        for name, make in subjects.items()
    ]


def study(
    name: str, subject: Subject, work: Path, *, seconds: float, rounds: int, threads: int
) -> dict[str, Any]:
    """Compile, export and time every variant of one network."""
    work.mkdir(parents=True, exist_ok=True)
    dense = count(subject.network, subject.image)
    found = bounds(subject.network, subject.image)
    files, errors, failures = write_variants(subject, work)
    record = bench(files, threads=threads, seconds=seconds, rounds=rounds)
    reduction = dense.macs / found.gather
    row: dict[str, Any] = {
        "network": name,
        "title": subject.about,
        "shape": list(subject.image.shape),
        "macs_dense": dense.macs,
        "macs_coupled_bound": found.coupled,
        "macs_gather_bound": found.gather,
        "mac_reduction_bound": reduction,
        "failures": failures,
        "variants": {},
        "bench": record.model_dump(
            mode="json", exclude={"candidates": {"__all__": {"layers", "times_ms"}}}
        ),
    }
    for variant, candidate in record.candidates.items():
        ratio = record.ratios.get(f"dense/{variant}")
        speedup = 1.0 if ratio is None else ratio.cpu
        row["variants"][variant] = {
            "macs": candidate.macs,
            "num_params": candidate.num_params,
            "max_rel_error": errors.get(variant, 0.0),
            "cpu_ms_p50": candidate.cpu_ms.p50,
            "speedup_cpu": speedup,
            "interval_95": (1.0, 1.0) if ratio is None else ratio.cpu_interval,
            "efficiency": speedup / reduction,
        }
    show(row)
    return row


def write_variants(
    subject: Subject, work: Path
) -> tuple[list[Path], dict[str, float], dict[str, str]]:
    """Write the variants' ONNX files; return them, dense first, errors, and what went wrong.

    The peer's network goes the same way: through our capture, with nothing removed, to our
    exporter.
    """
    files, errors, failures = [work / "dense.onnx"], {}, {}
    for variant, options in OURS.items():
        compact = compress(subject.network, subject.image, dynamic=False, **options)
        errors[variant] = compact.report.max_rel_error
        if variant == next(iter(OURS)):
            write(compact, files[0], dense=True)
        files.append(write(compact, work / f"{variant}.onnx"))
    try:
        peer, errors["torch_pruning"] = pruned_by_peer(subject)
        files.append(write(peer, work / "torch_pruning.onnx"))
    except Exception as failure:  # noqa: BLE001 - whatever a peer raises is its result
        failures["torch_pruning"] = f"{type(failure).__name__}: {' '.join(str(failure).split())}"
    return files, errors, failures


def write(compact: CompactModel, path: Path, *, dense: bool = False) -> Path:
    """Export, checked."""
    export(compact, path, which="dense" if dense else "compact")
    return path


def pruned_by_peer(subject: Subject) -> tuple[CompactModel, float]:
    """Return what Torch-Pruning, driven carefully and guarded, makes of it, and its error."""
    from study_families import output_error
    from torch_pruning_driver import prune

    network = copy.deepcopy(subject.network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prune(network, subject.image, guards=True)
    error = output_error(network, subject.network, subject.image)
    return compress(network, subject.image, prune_zero_channels=False, dynamic=False), error


def show(row: dict[str, Any]) -> None:
    """Print the table of one network."""
    verdict = row["bench"]["verdict"]
    print(
        f"\n{row['title']}, {'x'.join(map(str, row['shape']))}: gather bound "
        f"{row['mac_reduction_bound']:.2f} x fewer MACs; verdict {verdict}"
    )
    print(
        f"{'':14} {'GMACs':>8} {'params M':>9} {'CPU ms':>8} {'speed-up':>9} {'95 %':>13} "
        f"{'efficiency':>10} {'rel. error':>10}"
    )
    for name, variant in row["variants"].items():
        low, high = variant["interval_95"]
        print(
            f"{name:14} {variant['macs'] / 1e9:8.3f} {variant['num_params'] / 1e6:9.2f} "
            f"{variant['cpu_ms_p50']:8.2f} {variant['speedup_cpu']:9.2f} {low:6.2f} -{high:5.2f} "
            f"{variant['efficiency']:10.2f} {variant['max_rel_error']:10.1e}"
        )
    for name, why in row["failures"].items():
        print(f"{name:14} {why[:120]}")
