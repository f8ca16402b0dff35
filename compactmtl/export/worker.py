"""Convert in a Python that has a converter; this file is run there, as a script.

It imports nothing of compactmtl, which that Python need not have. Prints one JSON document:
``{"versions": ...}``, or ``{"refused": ...}`` where the converter or the runtime fails.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PACKAGES = {
    "litert": ("litert-torch", "ai-edge-litert", "torch"),
    "executorch": ("executorch", "torch"),
    "coreml": ("coremltools", "torch"),
}


def convert_litert(program: str, out: str, names: Sequence[str]) -> None:
    """Write a ``.tflite`` file."""
    import litert_torch
    import torch

    exported = torch.export.load(program)
    nodes = {node.name: node.meta["val"] for node in exported.graph.find_nodes(op="placeholder")}
    values = [nodes[name] for name in exported.graph_signature.user_inputs]
    inputs = tuple(torch.zeros(value.shape, dtype=value.dtype) for value in values)
    litert_torch.convert(exported.module(), inputs).export(out)


def convert_executorch(program: str, out: str, names: Sequence[str]) -> None:
    """Write a ``.pte`` file; what XNNPACK does not take runs in the portable kernels."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(
        torch.export.load(program), partitioner=[XnnpackPartitioner()]
    )
    Path(out).write_bytes(lowered.to_executorch().buffer)


def convert_coreml(program: str, out: str, names: Sequence[str]) -> None:
    """Write a ``.mlpackage`` folder that computes in fp32; ``names`` are inputs, then outputs."""
    import coremltools
    import torch

    model = coremltools.convert(
        torch.export.load(program).run_decompositions({}),
        compute_precision=coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS16,
    )
    spec = model.get_spec()
    features = [*spec.description.input, *spec.description.output]
    old = [feature.name for feature in features]
    # By way of names that nothing has, because a new name can be another one's old one.
    for index, name in enumerate(old):
        coremltools.utils.rename_feature(spec, name, f"compactmtl_{index}")
    for index, name in enumerate(names):
        coremltools.utils.rename_feature(spec, f"compactmtl_{index}", name)
    coremltools.models.MLModel(spec, weights_dir=model.weights_dir).save(out)


CONVERT: dict[str, Callable[[str, str, Sequence[str]], None]] = {
    "litert": convert_litert,
    "executorch": convert_executorch,
    "coreml": convert_coreml,
}


def main() -> None:
    """Read the command line, do it, answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=sorted(CONVERT))
    parser.add_argument("program")
    parser.add_argument("out")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()

    # Converters print; what they say goes to stderr, and the answer alone to stdout.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    started = time.perf_counter()
    try:
        CONVERT[arguments.target](arguments.program, arguments.out, arguments.names)
    except Exception as error:  # noqa: BLE001 - whatever it is goes to the caller, in one line
        document: dict[str, Any] = {"refused": f"{type(error).__name__}: {error}"}
    else:
        versions = {name: importlib.metadata.version(name) for name in PACKAGES[arguments.target]}
        document = {"versions": versions, "seconds": round(time.perf_counter() - started, 1)}
    with answer:
        json.dump(document, answer)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
