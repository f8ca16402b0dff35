"""The whole of a network in parts as one artefact, compared with torch on stored images."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compactmtl.board.files import sha256, to_json, write_together
from compactmtl.board.panoptic.parts import BOX_ALIGN, MASK_ALIGN, SUPPRESSION
from compactmtl.board.panoptic.pipeline import BOX_SIDE, MASK_SIDE
from compactmtl.board.panoptic.session import FORMAT_VERSION, SUFFIX, PanopticSession
from compactmtl.compact_network import NetworkManifest, load_network, read_network
from compactmtl.environment import version
from compactmtl.errors import ExportError
from compactmtl.export.base import Which
from compactmtl.export.board_errors import translated
from compactmtl.export.panoptic_operators import roi_align_model, suppression_model
from compactmtl.export.sidecar import InputSpec, OutputSpec, Parent, Sidecar, Verified
from compactmtl.export.stored import INPUTS, Array, read_inputs
from compactmtl.files import sha256 as fingerprint
from compactmtl.lineage import PARTS, sidecar_path

NUM_IMAGES = 4
"""How many of the stored images the whole is compared on."""
OPERATORS: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    BOX_ALIGN: ("boxes/align.onnx", partial(roi_align_model, BOX_SIDE)),
    MASK_ALIGN: ("masks/align.onnx", partial(roi_align_model, MASK_SIDE)),
    SUPPRESSION: ("boxes/suppression.onnx", suppression_model),
}
"""Files of what has no weights: the same for all networks, dense or compact."""
CLOSE = 0.05
"""Pixels within which two boxes of one label are the same thing."""
LEAST_SAME = 0.9
"""Share of the things that torch finds, and of the map's pixels, that must be there again: a
near-tie may make another box survive, a wrong post-processing changes most of them."""


def write_panoptic(folder: Path, which: Which) -> tuple[Path, Sidecar]:
    """Write ``model.panoptic`` or ``dense.panoptic`` beside the folders of the parts.

    Args:
        folder: A compact network whose parts were exported as ONNX.
        which: The compact network, or its dense twin.

    Returns:
        The artefact's path and its sidecar.

    Raises:
        MissingFileError: A part was not exported.
        ExportError: It finds something else than torch; then nothing is written.
    """
    manifest = read_network(folder)
    stem = "model" if which == "compact" else "dense"
    path = folder / f"{stem}{SUFFIX}"
    files = {name: f"{name}/{stem}.onnx" for name in manifest.parts}
    digests = {name: fingerprint(folder / file) for name, file in files.items()}
    operators = {folder / file: make() for file, make in OPERATORS.values()}
    for name, (file, _) in OPERATORS.items():
        files[name], digests[name] = file, sha256(operators[folder / file])
    document = {
        "format_version": FORMAT_VERSION,
        "processing": manifest.processing,
        "parts": {name: {"file": files[name], "sha256": digests[name]} for name in files},
    }
    content = to_json(document)
    trial = folder / f".{path.name}"
    with translated():
        try:
            write_together({**operators, trial: content})
            session = PanopticSession(trial, threads=1)
        finally:
            trial.unlink(missing_ok=True)
        found = _compare(folder, session, which)
        sidecar = _sidecar(manifest, folder, path, content, which, session.runtime, found)
        written = to_json(sidecar.model_dump(mode="json"))
        write_together({sidecar_path(path): written, path: content})
    return path, sidecar


def _compare(folder: Path, session: PanopticSession, which: Which) -> dict[str, Any]:
    """Run torch and the artefact on stored images; return the counts as JSON data.

    Raises:
        ExportError: Too much differs for rounding.
    """
    network = load_network(folder, dense=which == "dense")
    module = network.module if which == "compact" else network.dense
    assert module is not None
    stored = read_inputs(folder / INPUTS)
    images = stored.arrays["image"][:NUM_IMAGES]
    counts = {"num_images": len(images), "num_things": 0, "num_things_again": 0}
    counts |= {"num_pixels": 0, "num_pixels_again": 0}
    for image in images[:, None]:
        with torch.no_grad():
            expected = module(torch.from_numpy(image))
        got = session({"image": image})
        (things,) = expected["instances"]
        counts["num_things"] += len(things["scores"])
        counts["num_things_again"] += _again(
            things["boxes"].numpy(), things["labels"].numpy(), got["boxes"], got["labels"]
        )
        if "panoptic" in expected:
            # Things are numbered as they come: compare where segments begin and end, and classes.
            same = _classes(expected["panoptic"].numpy()) == _classes(got["panoptic"])
            counts["num_pixels"] += same.size
            counts["num_pixels_again"] += int(same.sum())
    for kind in ("things", "pixels"):
        total, again = counts[f"num_{kind}"], counts[f"num_{kind}_again"]
        if again < LEAST_SAME * total:
            raise ExportError(
                f"the exported network finds {again} of torch's {total} {kind} on {len(images)} "
                f"images, expected at least {LEAST_SAME:.0%}; nothing was written",
                hint="the parts are exact: is this compactmtl the one that compressed them? Has "
                "the network learned anything? Of proposals with equal scores any may come first",
            )
    return counts


def _again(boxes: Array, labels: Array, others: Array, other_labels: Array) -> int:
    """Count the boxes that are among the others, with their label."""
    if not len(boxes) or not len(others):
        return 0
    apart = np.abs(boxes[:, None] - others[None]).max(axis=2)
    return int(((apart < CLOSE) & (labels[:, None] == other_labels[None])).any(axis=1).sum())


def _classes(ids: Array) -> Array:
    classes: Array = np.where(ids >= 0, ids >> 20, -1)
    return classes


def _sidecar(
    manifest: NetworkManifest,
    folder: Path,
    path: Path,
    content: bytes,
    which: Which,
    runtime: str,
    found: dict[str, Any],
) -> Sidecar:
    samples = read_inputs(folder / INPUTS)
    image = samples.arrays["image"]
    free: list[int | str] = [1, 3, "height", "width"]
    return Sidecar(
        artefact=path.name,
        kind="panoptic",
        which=which,
        sha256=sha256(content),
        size_bytes=len(content),
        parent=Parent(file=PARTS, sha256=fingerprint(folder / PARTS)),
        opset=None,
        inputs=[InputSpec.of("image", free, "float32", image)],
        outputs=[
            OutputSpec(name=name, shape=list(shape), dtype=dtype, task=manifest.tasks.get(name))
            for name, shape, dtype in (
                ("boxes", ("things", 4), "float32"),
                ("scores", ("things",), "float32"),
                ("labels", ("things",), "int64"),
                ("masks", ("things", "height", "width"), "bool"),
                ("semantic", (1, "classes", "height", "width"), "float32"),
                ("panoptic", (1, 1, "height", "width"), "int64"),
            )
        ],
        verified=Verified(
            status="ran",
            runtime=runtime,
            per_task={},
            cases=[{"shapes": {"image": list(image.shape)}, "source": samples.source, **found}],
        ),
        versions={name: version(name) for name in ("torch", "onnxruntime", "numpy")},
    )
