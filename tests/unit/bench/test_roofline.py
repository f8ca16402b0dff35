"""The roof: limits by arithmetic, kernels sorted to layers, times from a profile made by hand."""

from importlib import import_module

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compactmtl.bench.complexity import LayerCost
from compactmtl.bench.kernel_names import KernelNames
from compactmtl.bench.kernel_times import Kernel, profile, read_profile
from compactmtl.bench.limits import BETWEEN, Machine, Row
from compactmtl.bench.machine import convolution, integer_convolution, measure_machine
from compactmtl.bench.onnx_graph import count_onnx
from compactmtl.bench.roofline import Timed, hold_against, measure_rooflines
from compactmtl.bench.roofline_table import COLUMNS, rows, sentence
from compactmtl.errors import BenchError

MACHINE = Machine(peak_gmacs=10.0, integer_gmacs=40.0, bandwidths=((1000, 8.0), (10**6, 2.0)))


def test_limits_by_hand():
    # 10 GMAC/s are 10_000 MACs in a microsecond, 2 GB/s are 2000 bytes.
    assert MACHINE.limit_us(50_000, 1001) == (5.0, "compute")
    assert MACHINE.limit_us(50_000, 1001, is_integer=True) == (1.25, "compute")
    assert MACHINE.limit_us(1_000, 20_000) == (10.0, "memory")
    assert MACHINE.limit_us(0, 800) == (0.1, "memory")  # fits into the faster level
    assert MACHINE.limit_us(0, 4 * 10**6) == (2000.0, "memory")  # more than was measured
    without = Machine(10.0, None, MACHINE.bandwidths)
    assert without.limit_us(50_000, 0, is_integer=True) == (5.0, "compute")


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**6))
def test_more_work_never_takes_less(macs, num_bytes, more):
    least = MACHINE.limit_us(macs, num_bytes)[0]
    assert MACHINE.limit_us(macs + more, num_bytes)[0] >= least
    assert MACHINE.limit_us(macs, num_bytes + more)[0] >= least


def test_share_and_loss():
    row = Row("a", "layer", "Conv", 1, 1, limit_us=2.0, bound="compute", measured_us=8.0)
    assert (row.share, row.lost_us) == (0.25, 6.0)
    assert Row(BETWEEN, BETWEEN, "", 0, 0, 0.0, "", 5.0).share is None


def events(durations, name="node_Conv_1", op="Conv", **args):
    """A profile of one kernel that runs once per run, each run 100 us after the other."""
    found = [{"cat": "Session", "name": "model_loading", "ts": 0, "dur": 50}]
    for index, duration in enumerate(durations):
        start = 1000 + 100 * index
        found.append({"cat": "Session", "name": "model_run", "ts": start, "dur": 90})
        kernel = {"op_name": op, "activation_size": "10", "parameter_size": "20", **args}
        event = {"cat": "Node", "name": f"{name}_kernel_time", "ts": start + 5, "dur": duration}
        found.append({**event, "args": kernel})
    return found


def test_a_profile_by_hand():
    (kernel,) = read_profile(events([99, 99, 99, 4, 4, 6, 500], output_size="5"))
    assert kernel.us == (4, 4, 6, 500)  # without the first three
    assert kernel.typical_us == 4.0  # of the faster half
    assert (kernel.name, kernel.op, kernel.num_bytes) == ("node_Conv_1", "Conv", 35)
    assert not kernel.is_integer
    (kernel,) = read_profile(events([1] * 4, input_type_shape=[{"uint8": [1]}]))
    assert kernel.is_integer


def test_a_kernel_that_runs_twice_in_a_run_counts_twice():
    found = events([1, 1, 1, 4, 4])
    again = [{**e, "ts": e["ts"] + 10} for e in found if e["cat"] == "Node"]
    (kernel,) = read_profile([*found, *again])
    assert kernel.us == (8, 8)


def test_what_runs_in_a_branch_is_in_the_time_of_the_branch():
    inner = [e for e in events([3] * 5, name="inner") if e["cat"] == "Node"]
    after = [{**e, "ts": e["ts"] + 9} for e in events([4] * 5, name="after") if e["cat"] == "Node"]
    found = [*events([9] * 5, name="branch", op="If"), *inner, *after]
    by_name = {kernel.name: kernel.us for kernel in read_profile(found)}
    assert by_name == {"branch": (9, 9), "after": (4, 4)}


def test_a_profile_without_runs():
    with pytest.raises(BenchError, match="no runs"):
        read_profile(events([1, 1]))


@pytest.fixture(scope="module")
def graph():
    """Conv, relu and pool; then Conv, add, relu; then an unnamed node."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c1"], name="node_Conv_1"),
        helper.make_node("Relu", ["c1"], ["relu"], name="node_relu"),
        helper.make_node("MaxPool", ["relu"], ["p"], name="node_pool", kernel_shape=[1, 1]),
        helper.make_node("Conv", ["p", "w"], ["c2"], name="node_Conv_2"),
        helper.make_node("Add", ["c2", "x"], ["sum"], name="node_add"),
        helper.make_node("Relu", ["sum"], ["relu_1"], name="node_relu_1"),
        helper.make_node("Sigmoid", ["relu_1"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    return helper.make_graph(
        nodes,
        "net",
        [value("x", TensorProto.FLOAT, [1, 4, 6, 6])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.full((4, 4, 1, 1), 0.1, np.float32), "w")],
    )


@pytest.mark.parametrize(
    ("kernel", "op", "node"),
    [
        ("node_Conv_1", "Conv", "node_Conv_1"),
        ("c1_nchwc", "Conv", "node_Conv_1"),  # the value it yields
        ("relu_nchwc", "Conv", "node_Conv_1"),  # with the activation fused
        ("relu_1_nchwc", "FusedConv", "node_Conv_2"),  # the addition, too
        ("fused node_Conv_2_token_17", "FusedConv", "node_Conv_2"),
        ("InsertedPrecisionFreeCast_relu_1_nchwc_token_3", "Conv", "node_Conv_2"),
        ("node_Conv_2_token_184", "QLinearConv", "node_Conv_2"),
        ("node_pool", "MaxPool", "node_pool"),
        ("p_nchwc", "MaxPool", "node_pool"),
        ("y", "Sigmoid", "y"),
        ("ReorderOutput_token_7", "ReorderOutput", None),
        ("node_Conv_3", "Conv", None),
    ],
)
def test_names_of_kernels(graph, kernel, op, node):
    assert KernelNames(graph, ["node_Conv_1", "node_Conv_2"]).find(kernel, op) == node


def layer(node, macs):
    return LayerCost(node[-1], "Conv", node, macs, 4, (1,), 100, 200, 300)


def kernel(name, op, us, num_bytes=800, is_integer=False):
    return Kernel(name, op, num_bytes, is_integer, (us,) * 4)


def test_kernels_are_sorted_and_every_microsecond_has_a_place(graph):
    layers = [layer("node_Conv_1", 100_000), layer("node_Conv_2", 400_000)]
    kernels = [
        kernel("relu_nchwc", "Conv", 20.0),
        kernel("ReorderOutput", "ReorderOutput", 2.0),
        kernel("ReorderOutput_token_3", "ReorderOutput", 3.0),
        kernel("node_pool", "MaxPool", 4.0),
        kernel("node_Conv_2_token_1", "QLinearConv", 40.0, is_integer=True),
    ]
    names = KernelNames(graph, ["node_Conv_1", "node_Conv_2"])
    found = hold_against(MACHINE, kernels, layers, names, run_us=75.0)
    by_name = {row.name: row for row in found.rows}
    assert list(by_name) == [
        *("1", "2", "MaxPool x 1", "other: ReorderOutput x 2", "between kernels")
    ]
    assert (by_name["1"].limit_us, by_name["1"].share) == (10.0, 0.5)
    assert (by_name["2"].limit_us, by_name["2"].bound) == (10.0, "compute")  # in integers
    assert by_name["1"].num_bytes == 600
    assert by_name["other: ReorderOutput x 2"].measured_us == 5.0
    assert by_name["other: ReorderOutput x 2"].limit_us == pytest.approx(0.2)
    assert sum(row.measured_us for row in found.rows) == found.run_us == 75.0
    lost = [cells[0] for cells in rows(found)]
    assert lost == [
        "2",
        "1",
        "between kernels",
        "other: ReorderOutput x 2",
        "MaxPool x 1",
        "whole run",
    ]
    assert all(len(cells) == len(COLUMNS) for cells in rows(found))
    assert found.remark == ""
    disturbed = hold_against(MACHINE, kernels, layers, names, run_us=50.0)
    assert "kernels took 69 us under the profiler, a run 50 us" in disturbed.remark
    # Kernels can take longer under the profiler than a whole run without it.
    assert BETWEEN not in {
        r.name for r in hold_against(MACHINE, kernels, layers, names, run_us=9.0).rows
    }


@pytest.mark.parametrize("integer", [False, True])
def test_the_probe_computes_what_it_is_counted_as(tmp_path, integer):
    image = np.ones((1, 8, 6, 6), np.uint8 if integer else np.float32)
    model = (integer_convolution if integer else convolution)(8, 6, 3)
    (found,) = (k for k in profile(model, {"x": image}, threads=1, seconds=0) if "Conv" in k.op)
    assert found.is_integer == integer
    if not integer:
        onnx.save(model, tmp_path / "m.onnx")
        assert count_onnx(tmp_path / "m.onnx", {"x": image}).macs == 8**2 * 3**2 * 6**2


def test_a_real_file(tmp_path, model, monkeypatch):
    probes = import_module("compactmtl.bench.machine")
    monkeypatch.setattr(probes, "CONVOLUTIONS", ((16, 8, 3),))
    monkeypatch.setattr(probes, "ADDED_BYTES", (2**12, 2**16))
    machine = measure_machine(threads=1, integer=True, seconds=0.0)
    assert machine.peak_gmacs > 0
    assert machine.integer_gmacs > 0
    assert [size for size, _ in machine.bandwidths] == [3 * 2**12, 3 * 2**16]
    assert "GMAC/s" in sentence(machine)
    onnx.save(model(16), tmp_path / "m.onnx")
    inputs = {"image": np.ones((1, 3, 24, 32), np.float32)}
    counted = count_onnx(tmp_path / "m.onnx", inputs)
    timed = {
        "m": Timed(tmp_path / "m.onnx", inputs, counted.layers, 1e6),
        "ir": Timed(tmp_path / "m.xml", inputs, counted.layers, 1e6),
    }
    found = measure_rooflines(timed, threads=1)
    assert list(found.left_out) == ["ir"]
    assert [row.name for row in found.artefacts["m"].rows if row.kind == "layer"] == [
        layer.name for layer in counted.layers
    ]
    with pytest.raises(BenchError, match="cannot profile"):
        profile(tmp_path / "m.onnx", {"image": np.ones((1, 4, 4, 4), np.float32)}, threads=1)
