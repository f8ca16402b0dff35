"""How far each layer is from what the machine attains: where the latency still comes from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from compactmtl.bench.complexity import LayerCost
from compactmtl.bench.kernel_names import KernelNames
from compactmtl.bench.kernel_times import Kernel, profile
from compactmtl.bench.limits import BETWEEN, OTHER, Machine, Roofline, Rooflines, Row
from compactmtl.bench.machine import measure_machine
from compactmtl.bench.onnx_graph import read_onnx
from compactmtl.export.stored import Arrays


@dataclass(frozen=True)
class Timed:
    """An artefact that was timed.

    Attributes:
        path: The file.
        inputs: What it was run with.
        layers: What was counted in it.
        run_us: See ``Roofline``.
    """

    path: Path
    inputs: Arrays
    layers: tuple[LayerCost, ...]
    run_us: float


def measure_rooflines(artefacts: Mapping[str, Timed], *, threads: int) -> Rooflines:
    """Profile ONNX files in ONNX Runtime, in runs of their own, and set limits to their layers.

    Args:
        artefacts: What was timed, by name; files of other runtimes are named and left out.
        threads: Threads of the runtime.

    Raises:
        BenchError: A file does not run.
    """
    chosen = {name: each for name, each in artefacts.items() if each.path.suffix == ".onnx"}
    profiles = {
        name: profile(each.path, each.inputs, threads=threads) for name, each in chosen.items()
    }
    integer = any(k.is_integer for kernels in profiles.values() for k in kernels)
    machine = measure_machine(threads=threads, integer=integer)
    found = {}
    for name, each in chosen.items():
        names = KernelNames(read_onnx(each.path).graph, (layer.node for layer in each.layers))
        found[name] = hold_against(machine, profiles[name], each.layers, names, run_us=each.run_us)
    return Rooflines(
        machine=machine,
        artefacts=found,
        left_out={
            name: f"{each.path.name}: per-layer times are read from ONNX Runtime only"
            for name, each in artefacts.items()
            if name not in chosen
        },
    )


def hold_against(
    machine: Machine,
    kernels: Iterable[Kernel],
    layers: Iterable[LayerCost],
    names: KernelNames,
    *,
    run_us: float,
) -> Roofline:
    """Sort kernels to the layers they compute and give each its limit.

    Args:
        machine: Its limits.
        kernels: What was profiled.
        layers: Of the file.
        names: Finds the nodes of kernels.
        run_us: See ``Roofline``.
    """
    costs = {layer.node: layer for layer in layers}
    of_layer: defaultdict[str, list[Kernel]] = defaultdict(list)
    of_op: defaultdict[tuple[str, str], list[Kernel]] = defaultdict(list)
    for kernel in kernels:
        node = names.find(kernel.name, kernel.op)
        if node in costs:
            of_layer[node].append(kernel)
        else:
            of_op["operations" if node else OTHER, kernel.op].append(kernel)
    rows = [_layer_row(machine, costs[node], of_layer[node]) for node in costs if node in of_layer]
    rows += _other_rows(machine, of_op)
    between = run_us - sum(row.measured_us for row in rows)
    if between > 0:  # a profiler can cost more than there is between kernels
        rows.append(Row(BETWEEN, BETWEEN, "", 0, 0, 0.0, "", between))
    return Roofline(rows=tuple(rows), run_us=run_us)


def _layer_row(machine: Machine, cost: LayerCost, kernels: list[Kernel]) -> Row:
    num_bytes = cost.input_bytes + cost.output_bytes + cost.weight_bytes
    limit, bound = machine.limit_us(
        cost.macs, num_bytes, is_integer=any(kernel.is_integer for kernel in kernels)
    )
    return Row(
        name=cost.name,
        kind="layer",
        op=kernels[0].op,
        macs=cost.macs,
        num_bytes=num_bytes,
        limit_us=limit,
        bound=bound,
        measured_us=sum(kernel.typical_us for kernel in kernels),
    )


def _other_rows(machine: Machine, of_op: Mapping[tuple[str, str], list[Kernel]]) -> Iterator[Row]:
    for (kind, op), kernels in sorted(of_op.items()):
        prefix = f"{OTHER}: " if kind == OTHER else ""
        yield Row(
            name=f"{prefix}{op} x {len(kernels)}",
            kind=kind,
            op=op,
            macs=0,
            num_bytes=sum(kernel.num_bytes for kernel in kernels),
            limit_us=sum(machine.limit_us(0, kernel.num_bytes)[0] for kernel in kernels),
            bound="memory",
            measured_us=sum(kernel.typical_us for kernel in kernels),
        )
