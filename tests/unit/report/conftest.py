"""Folders as the other rooms write them, by the formats they document."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from compactmtl.files import sha256, write_json
from compactmtl.recipe import parse, to_toml
from compactmtl.report.samples import Predictions, Sample, TaskFacts

EPOCHS = 30
ENVIRONMENT = {
    "python": "3.11.7",
    "packages": {
        "compactmtl": "0.1.0",
        "torch": "2.11.0",
        "onnxruntime": "1.22.0",
        "onnx": "1.18.0",
    },
    "os": "Linux 6.1",
    "machine": "x86_64",
    "cpu": "Example CPU @ 2.60GHz",
    "cores": 2,
    "usable_cores": 2,
    "memory_gib": 15.6,
    "threads": {"OMP_NUM_THREADS": "1"},
    "load_average": 0.31,
}
BASELINE = {
    "seg": {"miou": 0.047, "pixel_accuracy": 0.376},
    "depth": {"abs_err": 0.912, "rel_err": 0.421},
    "normals": {"mean_angle": 47.3, "median_angle": 45.1, "within_11_25": 0.08},
}
FINAL = {
    "seg": {"miou": 0.512, "pixel_accuracy": 0.861},
    "depth": {"abs_err": 0.318, "rel_err": 0.133},
    "normals": {"mean_angle": 18.4, "median_angle": 11.2, "within_11_25": 0.51},
}


def recipe_document(name="rooms-demo", data="rooms"):
    return {
        "name": name,
        "description": "A small SegNet on rendered rooms: semantics, depth and normals.",
        "model": {"name": "segnet_s", "args": {"widths": [16, 32, 64]}},
        "data": {"name": data, "args": {"num_images": 20, "height": 32, "width": 32}},
        "tasks": {"seg": {}, "depth": {}, "normals": {}},
        "train": {"epochs": EPOCHS},
        "overparam": {"until": 0.3},
        "sparsity": {"target": 0.6, "start": 0.4, "stop": 0.7},
        "check": {"margin": 0.2, "zero_groups": 0.5},
    }


def log_rows():
    rows = []
    for epoch in range(1, EPOCHS + 1):
        share = epoch / EPOCHS
        phase = (
            "overparam"
            if share <= 0.3
            else "dense"
            if share <= 0.4
            else "sparse"
            if share <= 0.7
            else "debias"
        )
        learned = 1 - math.exp(-4 * share) - (0.12 if phase == "sparse" else 0) * share
        zero = int(2016 * 0.62 * min(1.0, max(0.0, (share - 0.4) / 0.3)))
        rows.append(
            {
                "epoch": epoch,
                "phase": phase,
                "seconds": 8.0,
                "lr": 1e-3 * (1 - share),
                "lam": 0.02 * min(1.0, (share - 0.3) * 3) if phase == "sparse" else 0.0,
                "loss": {
                    "seg": 2.1 - 1.6 * learned,
                    "depth": 1.1 - 0.8 * learned,
                    "normals": 0.35 - 0.27 * learned,
                },
                "val": {
                    task: {
                        metric: BASELINE[task][metric]
                        + learned * (FINAL[task][metric] - BASELINE[task][metric])
                        for metric in BASELINE[task]
                    }
                    for task in BASELINE
                },
                "sparsity": {
                    "zero_groups": zero,
                    "num_groups": 2016,
                    "zero_filters": zero // 3,
                    "num_filters": 1104,
                },
            }
        )
    return rows


def write_run(folder, document=None):
    folder.mkdir(parents=True)
    recipe = parse(document or recipe_document(), source="test")
    (folder / "recipe.toml").write_text(to_toml(recipe))
    (folder / "ckpt.pt").write_bytes(b"checkpoint " + folder.name.encode())
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log_rows()))
    write_json(
        folder / "run.json",
        {
            "format_version": 1,
            "recipe": recipe.name,
            "seed": 0,
            "status": "finished",
            "started": "2025-01-01T12:00:00+00:00",
            "finished": "2025-01-01T12:04:00+00:00",
            "baseline": BASELINE,
            "milestones": {"before_sparse": FINAL, "before_debias": FINAL, "final": FINAL},
            "check": {"passed": True, "missed": [], "margin": 0.2, "tasks": {}},
            "environment": ENVIRONMENT,
        },
    )
    return folder


def layers():
    names = [f"encoder.stage{stage}.conv{conv}" for stage in range(1, 5) for conv in (1, 2)]
    widths = [3, 32, 32, 64, 64, 128, 128, 256, 256]
    rows = []
    for index, name in enumerate(names):
        before, after = widths[index], widths[index + 1]
        rows.append(
            {
                "name": name,
                "kind": "conv2d",
                "in_before": before,
                "in_after": before if index == 0 else int(before * (0.95 - 0.09 * index)),
                "out_before": after,
                "out_after": int(after * (0.93 - 0.09 * index)),
                "macs_before": 10**7,
                "macs_after": 4 * 10**6,
                "gather": index in (3, 5),
            }
        )
    for task, channels in (("seg", 13), ("depth", 1), ("normals", 3)):
        rows.append(
            {
                "name": f"heads.{task}.classify",
                "kind": "conv2d",
                "in_before": 64,
                "in_after": 41,
                "out_before": channels,
                "out_after": channels,
                "macs_before": 10**6,
                "macs_after": 6 * 10**5,
                "gather": False,
            }
        )
    return rows


def write_compact(folder, run=None):
    folder.mkdir(parents=True)
    (folder / "model.pt2").write_bytes(b"compact model")
    (folder / "dense.pt2").write_bytes(b"dense model")
    write_json(
        folder / "report.json",
        {
            "format_version": 1,
            "source": {
                "file": "ckpt.pt",
                "sha256": sha256(run / "ckpt.pt") if run else None,
                "run": str(run) if run else None,
            },
            "before": {"macs": 1_482_301_440, "num_params": 3_140_000, "weights_bytes": 12_590_000},
            "after": {"macs": 402_114_560, "num_params": 781_000, "weights_bytes": 3_140_000},
            "max_rel_error": 4.1e-7,
            "census": {
                "zero_groups": 1250,
                "num_groups": 2016,
                "zero_filters": 416,
                "num_filters": 1104,
                "removable_channels": 538,
                "num_channels": 1104,
            },
            "layers": layers(),
            "opaque": [
                {
                    "node": "interpolate_1",
                    "op": "aten.grid_sampler_2d",
                    "why": "no rule",
                    "source": "models/own.py:41 in forward",
                }
            ],
            "carriers": [],
            "verification": {
                "fp64_tolerance": 1e-11,
                "fp32_factor": 4.0,
                "num_inputs": 10,
                "shapes": [[2, 3, 96, 128], [3, 3, 128, 160]],
                "selection_flips": 3,
                "selection_widest_gap": 8.1e-7,
                "outputs": {
                    task: {
                        "fp64_error": 2.3e-15,
                        "fp32_error": 3.9e-7,
                        "fp32_error_of_original": 3.1e-7,
                    }
                    for task in BASELINE
                },
            },
            "gathers": 2,
            "notes": [],
            "seconds": {"capture": 2.1, "compile": 0.7, "verify": 4.0},
            "environment": ENVIRONMENT,
        },
    )
    return folder


def write_exports(folder):
    for stem, which, num_bytes in (("model", "compact", 3_201_000), ("dense", "dense", 12_640_000)):
        artefact = folder / f"{stem}.onnx"
        artefact.write_bytes(which.encode() * (num_bytes // 100))
        write_json(
            folder / f"{stem}.onnx.json",
            {
                "format_version": 1,
                "artefact": artefact.name,
                "kind": "onnx",
                "which": which,
                "sha256": sha256(artefact),
                "size_bytes": artefact.stat().st_size,
                "parent": {"file": "model.pt2", "sha256": sha256(folder / "model.pt2")},
                "opset": 20,
                "inputs": [],
                "outputs": [],
                "verified": {
                    "status": "ran",
                    "runtime": "onnxruntime 1.22.0",
                    "cases": [],
                    "per_task": {
                        task: {"max_rel_error": 4e-7, "bound": 1.3e-6, "torch_fp32_error": 3.2e-7}
                        for task in BASELINE
                    },
                },
                "versions": {},
            },
        )


def layer_costs(scale):
    return [
        {
            "name": layer["name"],
            "op": "Conv",
            "node": f"node_{index}",
            "macs": int(1.3e8 / scale / (1 + index)),
            "num_params": 20_000,
            "output_shape": [1, 32, 24, 32],
            "input_bytes": 400_000,
            "output_bytes": 98_304,
            "weight_bytes": 80_000,
        }
        for index, layer in enumerate(layers())
    ]


def roofline(scale):
    found = [
        {
            "name": layer["name"],
            "kind": "layer",
            "op": "Conv",
            "macs": layer["macs"],
            "num_bytes": layer["input_bytes"],
            "limit_us": layer["macs"] / 6e4,
            "bound": "compute",
            "measured_us": layer["macs"] / 3e4 + 20,
        }
        for layer in layer_costs(scale)
    ]
    other = {"name": "other: ReorderOutput x 9", "kind": "other", "op": "ReorderOutput", "macs": 0}
    glue = {"num_bytes": 10**6, "limit_us": 20.0, "bound": "memory", "measured_us": 900.0}
    return {"rows": [*found, {**other, **glue}], "run_us": 41200.0 / scale}


def write_bench(folder, verdict="ok"):
    def spread(p50):
        figures = {"p90": 1.04, "p95": 1.1, "p99": 1.2, "mean": 1.01, "min": 0.97, "std": 0.03}
        return {"p50": p50, "n": 120, **{name: p50 * share for name, share in figures.items()}}

    def candidate(stem, scale):
        return {
            "file": f"{stem}.onnx",
            "sha256": sha256(folder / f"{stem}.onnx"),
            "macs": int(1.48e9 / scale),
            "flops": 2 * int(1.48e9 / scale),
            "num_params": int(3.14e6 / scale),
            "weights_bytes": int(12.5e6 / scale),
            "peak_activation_bytes": int(2.4e6 / scale),
            "layers": layer_costs(scale),
            "size_bytes": int(12.6e6 / scale),
            "device": "cpu",
            "includes": "new arrays for the outputs; not included: pre- and postprocessing",
            "inputs": {"image": {"shape": [1, 3, 96, 128], "dtype": "float32"}},
            "warmup": {"calls": 8, "seconds": 0.5},
            "latency_ms": spread(41.2 / scale),
            "cpu_ms": spread(40.9 / scale),
            "throughput": {
                "calls": 60,
                "seconds": 2.5 / scale,
                "calls_per_s": 24.0 * scale,
                "samples_per_s": 24.0 * scale,
            },
            "added_rss_mib": 35.5,
            "times_ms": {
                clock: [round(middle / scale * (1 + step / 2000), 3) for step in range(120)]
                for clock, middle in (("wall", 40.1), ("cpu", 39.8))
            },
            "times_every": 1,
            "first_ms": 55.0 / scale,
            "load_ms": 31.0,
            "runtime": "onnxruntime 1.22.0",
            "uncounted": [],
        }

    write_json(
        folder / "bench.json",
        {
            "format_version": 2,
            "environment": ENVIRONMENT,
            "settings": {
                "device": "cpu",
                "threads": 1,
                "batch": 1,
                "shapes": {"image": [1, 3, 96, 128]},
                "inputs": "8 validation images",
                "seconds": 10.0,
                "rounds": 50,
            },
            "candidates": {"dense": candidate("dense", 1.0), "compact": candidate("model", 3.1)},
            "ratios": {
                "dense/compact": {
                    "clock": "cpu",
                    "verdict": "ok",
                    "cpu": 3.12,
                    "cpu_interval": [3.05, 3.16],
                    "wall": 3.1,
                    "wall_interval": [3.02, 3.18],
                }
            },
            "roofline": {
                "machine": {
                    "peak_gmacs": 60.0,
                    "integer_gmacs": None,
                    "bandwidths": [[196608, 49.0], [201326592, 11.0]],
                },
                "artefacts": {"dense": roofline(1.0), "compact": roofline(3.1)},
                "left_out": {"compact.openvino": "model.xml: no times"},
            },
            "left_out": {},
            "load_average": {"before": 0.3, "after": 0.4},
            "peak_rss_mib": 410.5,
            "verdict": verdict,
            "why": [] if verdict == "ok" else ["load average 3.1 on 2 cores."],
        },
    )


def write_evaluation(folder):
    """Score both exported files, and one that is not of this folder."""
    files = {
        "dense.onnx": sha256(folder / "dense.onnx"),
        "model.onnx": sha256(folder / "model.onnx"),
    }
    write_json(
        folder / "evaluation.json",
        {
            "format_version": 1,
            "data": "rooms, test",
            "num_images": 77,
            "subjects": {n: {"file": n, "sha256": d} for n, d in {**files, "x": "0" * 64}.items()},
            "metrics": {"dense.onnx": FINAL, "model.onnx": BASELINE, "x": FINAL},
        },
    )


def write_everything(root, document=None):
    """Return (compact folder, run folder), complete."""
    run = write_run(root / "runs" / "rooms-demo-20250101-120000-0", document)
    folder = write_compact(root / "compact", run)
    write_exports(folder)
    write_bench(folder)
    return folder, run


def predictions(names=("seg", "depth", "normals"), num_samples=4):
    """Return made-up pictures: a scene of two planes and a ball."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:96, 0:128] / 96
    samples = []
    for index in range(num_samples):
        cx, cy = rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.7)
        ball = ((x - cx) ** 2 + (y - cy) ** 2) < 0.06
        floor = y > 0.6

        def paint(ball_rgb, floor_rgb, wall_rgb, noise=0.0, ball=ball, floor=floor):
            picture = np.where(
                ball[..., None], ball_rgb, np.where(floor[..., None], floor_rgb, wall_rgb)
            )
            return np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)

        pictures = {}
        for number, name in enumerate(names):
            colours = [
                np.roll([220, 90, 60], number),
                np.roll([90, 140, 80], number),
                np.roll([120, 150, 210], number),
            ]
            pictures[name] = {
                "truth": paint(*colours),
                "dense": paint(*colours, noise=12),
                "compact": paint(*colours, noise=12),
            }
        image = paint([200, 160, 60], [110, 90, 70], [170, 170, 180], noise=8)
        samples.append(Sample(name=f"image {index * 66}", image=image, pictures=pictures))
    kinds = {
        "seg": ("segmentation", "miou", True),
        "depth": ("depth", "abs_err", False),
        "normals": ("normals", "mean_angle", False),
    }
    facts = {}
    for name in names:
        kind, primary, higher = kinds.get(name, ("binary", "iou", True))
        legend = ()
        if kind == "segmentation":
            classes = ("wall", "floor", "ceiling", "door", "window", "table", "chair", "lamp")
            legend = tuple(
                (c, (31 * i % 255, 97 * i % 255, 193 * i % 255)) for i, c in enumerate(classes)
            )
        facts[name] = TaskFacts(kind=kind, primary=primary, higher_is_better=higher, legend=legend)
    return Predictions(
        source="Validation split of rooms, 200 of 200 images.",
        tasks=facts,
        samples=samples,
        metrics={"dense": FINAL, "compact": FINAL},
        num_images=200,
        differences=dict.fromkeys(names, 3.2e-7),
    )


@pytest.fixture
def complete(tmp_path):
    return write_everything(tmp_path)


@pytest.fixture
def shown():
    return predictions()


@pytest.fixture
def make():
    """Give tests the writers of single folders and files."""
    return SimpleNamespace(
        write_run=write_run,
        write_compact=write_compact,
        write_exports=write_exports,
        write_bench=write_bench,
        write_evaluation=write_evaluation,
        recipe_document=recipe_document,
    )
