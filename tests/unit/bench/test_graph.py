"""Memory of a graph, against the definition applied word by word to random graphs."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from compactmtl.bench.graph import (
    Graph,
    Operation,
    Value,
    peak_activation_bytes,
    stored_constants,
)
from compactmtl.bench.quantisation import without_quantisation


@st.composite
def graphs(draw):
    """A few constants and inputs, then operations that read any earlier value, or none."""
    num_constants, num_inputs = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    constants = [f"w{index}" for index in range(num_constants)]
    inputs = [f"x{index}" for index in range(num_inputs)]
    names, operations = [*constants, *inputs], []
    for step in range(draw(st.integers(1, 8))):
        reads = tuple(draw(st.lists(st.sampled_from(names), max_size=3)))
        writes = tuple(f"v{step}.{index}" for index in range(draw(st.integers(1, 2))))
        operations.append(Operation(f"n{step}", "Op", reads, writes))
        names += writes
    sizes = {
        name: Value((draw(st.integers(0, 9)),), draw(st.sampled_from((4, 8, 32)))) for name in names
    }
    outputs = tuple(draw(st.lists(st.sampled_from(names[num_constants:]), unique=True)))
    return Graph(tuple(operations), sizes, frozenset(constants), tuple(inputs), outputs)


def by_definition(graph):
    """Ask at each operation about each value whether it is there and still needed."""
    apart = stored_constants(graph)
    peak = 0
    for step, current in enumerate(graph.operations):
        written = {n for each in graph.operations[: step + 1] for n in each.outputs}
        needed = {n for each in graph.operations[step:] for n in each.inputs}
        live = ({*graph.inputs, *written} & {*needed, *graph.outputs}) | set(current.outputs)
        # An input that nobody reads is there when the first operation starts.
        live |= set(graph.inputs) if step == 0 else set()
        peak = max(peak, sum(graph.values[n].num_bytes for n in live if n not in apart))
    return peak


@given(graphs())
def test_peak_is_the_definition(graph):
    assert peak_activation_bytes(graph) == by_definition(graph)


def test_the_oracle_sees_a_value_that_is_freed_too_early():
    values = {name: Value((size,), 8) for name, size in (("x", 10), ("a", 20), ("b", 1), ("y", 5))}
    steps = (
        Operation("1", "Op", ("x",), ("a",)),
        Operation("2", "Op", ("x",), ("b",)),
        Operation("3", "Op", ("a", "b"), ("y",)),
    )
    graph = Graph(steps, values, frozenset(), ("x",), ("y",))
    assert by_definition(graph) == peak_activation_bytes(graph) == 31  # x, a and b
    freed = replace(graph, operations=(*steps[:2], replace(steps[2], inputs=("b",))))
    assert by_definition(freed) == 30


@given(graphs())
def test_what_depends_on_constants_only_leads_to_a_constant(graph):
    stored = stored_constants(graph)
    assert set(stored.values()) <= graph.constants
    assert not set(graph.inputs) & set(stored)
    written_by = {name: each for each in graph.operations for name in each.outputs}
    for name in set(graph.values) - graph.constants - set(graph.inputs):
        reads = written_by[name].inputs
        assert (name in stored) == (bool(reads) and all(read in stored for read in reads))


def quantised():
    """Input, quantise, dequantise, layer, quantise, dequantise, layer, output."""
    kinds = {"x": 32, "q": 8, "d": 32, "y": 32, "yq": 8, "yd": 32, "z": 32, "w": 8, "wd": 32}
    steps = (
        Operation("Q", "QuantizeLinear", ("x",), ("q",)),
        Operation("D", "DequantizeLinear", ("q",), ("d",)),
        Operation("W", "DequantizeLinear", ("w",), ("wd",)),
        Operation("one", "Conv", ("d", "wd"), ("y",), macs=1),
        Operation("Q2", "QuantizeLinear", ("y",), ("yq",)),
        Operation("D2", "DequantizeLinear", ("yq",), ("yd",)),
        Operation("two", "Conv", ("yd", "wd"), ("z",), macs=1),
    )
    values = {name: Value((10,), bits) for name, bits in kinds.items()}
    return Graph(steps, values, frozenset({"w"}), ("x",), ("z",))


def test_layers_of_a_quantised_graph_exchange_integers():
    found = without_quantisation(quantised())
    assert [(e.name, e.inputs, e.outputs) for e in found.operations] == [
        ("Q", ("x",), ("q",)),  # the input is the caller's
        ("one", ("q", "w"), ("yq",)),
        ("two", ("yq", "w"), ("z",)),
    ]


def test_what_is_read_in_floating_point_as_well_stays():
    graph = quantised()
    for changed in (
        replace(graph, outputs=("z", "y")),
        replace(graph, operations=(*graph.operations, Operation("r", "Relu", ("y",), ("r",)))),
    ):
        names = [each.name for each in without_quantisation(changed).operations]
        assert "Q2" in names
    names = [e.name for e in without_quantisation(replace(graph, outputs=("z", "d"))).operations]
    assert "D" in names
