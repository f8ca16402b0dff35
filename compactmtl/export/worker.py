"""Convert and run in a Python that has a converter; this file is run there, as a script.

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

import numpy as np

PACKAGES = {
    "litert": ("litert-torch", "ai-edge-litert", "torch"),
    "executorch": ("executorch", "torch"),
    "coreml": ("coremltools", "torch"),
}
Arrays = list[np.ndarray[Any, Any]]


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


def run_litert(path: str, calls: list[Arrays]) -> list[Arrays]:
    """Run a ``.tflite`` file; LiteRT calls inputs ``args_0``, ... and outputs ``output_0``, ..."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path, num_threads=1).get_signature_runner()
    results = []
    for call in calls:
        outputs = runner(**{f"args_{index}": array for index, array in enumerate(call)})
        results.append([outputs[f"output_{index}"] for index in range(len(outputs))])
    return results


def run_executorch(path: str, calls: list[Arrays]) -> list[Arrays]:
    """Run a ``.pte`` file."""
    import torch
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    return [
        [value.numpy().copy() for value in method.execute([torch.from_numpy(a) for a in call])]
        for call in calls
    ]


CONVERT: dict[str, Callable[[str, str, Sequence[str]], None]] = {
    "litert": convert_litert,
    "executorch": convert_executorch,
    "coreml": convert_coreml,
}
RUN: dict[str, Callable[[str, list[Arrays]], list[Arrays]]] = {
    "litert": run_litert,
    "executorch": run_executorch,
}


def main() -> None:
    """Read the command line, do it, answer."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    convert = verbs.add_parser("convert")
    convert.add_argument("target", choices=sorted(CONVERT))
    convert.add_argument("program")
    convert.add_argument("out")
    convert.add_argument("names", nargs="*")
    run = verbs.add_parser("run")
    run.add_argument("target", choices=sorted(RUN))
    run.add_argument("artefact")
    run.add_argument("inputs", help="<call>.<input> to array")
    run.add_argument("outputs", help="<call>.<output> to array")
    arguments = parser.parse_args()

    # Converters print; what they say goes to stderr, and the answer alone to stdout.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    started = time.perf_counter()
    try:
        if arguments.verb == "convert":
            CONVERT[arguments.target](arguments.program, arguments.out, arguments.names)
        else:
            results = RUN[arguments.target](arguments.artefact, read_calls(arguments.inputs))
            write_calls(arguments.outputs, results)
    except Exception as error:  # noqa: BLE001 - whatever it is goes to the caller, in one line
        document: dict[str, Any] = {"refused": f"{type(error).__name__}: {error}"}
    else:
        versions = {name: importlib.metadata.version(name) for name in PACKAGES[arguments.target]}
        document = {"versions": versions, "seconds": round(time.perf_counter() - started, 1)}
    with answer:
        json.dump(document, answer)
    sys.stdout.flush()


def write_calls(path: str, calls: list[Arrays]) -> None:
    """Write the inputs or outputs of several calls."""
    named: dict[str, Any] = {
        f"{number}.{index}": array
        for number, call in enumerate(calls)
        for index, array in enumerate(call)
    }
    np.savez(path, **named)


def read_calls(path: str) -> list[Arrays]:
    """Read what ``write_calls`` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        keys = [tuple(map(int, name.split("."))) for name in arrays.files]
        calls = 1 + max(call for call, _ in keys)
        return [
            [arrays[f"{call}.{index}"] for _, index in sorted(k for k in keys if k[0] == call)]
            for call in range(calls)
        ]


if __name__ == "__main__":
    main()
