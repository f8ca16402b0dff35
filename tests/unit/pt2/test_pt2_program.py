"""Code hidden in a program is refused, and is live ammunition where it is not."""

import contextlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from compactmtl.errors import (
    CorruptFileError,
    UnsafeFileError,
)
from compactmtl.pt2 import open_pt2
from compactmtl.pt2.archive import PROGRAM, SAMPLES, write_entries
from compactmtl.pt2.ops import is_allowed

Entries = dict[str, bytes]


def touch(folder: Path) -> str:
    """Return an expression that creates a file."""
    return f"__import__('pathlib').Path({str(folder / 'pwned')!r}).touch()"


def plant_size(document: dict, code: str) -> None:
    size = {"as_expr": {"expr_str": code, "hint": {"as_int": 2}}}
    document["graph_module"]["graph"]["tensor_values"]["image"]["sizes"][0] = size


def plant_guard(document: dict, code: str) -> None:
    document["guards_code"] = [code]


def plant_name(document: dict, code: str) -> None:
    text = json.dumps(document).replace('"conv2d"', json.dumps(f"conv2d = {code}; conv2d"))
    document.clear()
    document.update(json.loads(text))


def plant_call(document: dict, code: str) -> None:
    node = document["graph_module"]["graph"]["nodes"][-1]
    node["target"] = "torch.serialization.os.system"
    node["inputs"] = [{"name": "", "arg": {"as_string": "true"}, "kind": 1}]


def plant_import(document: dict, code: str) -> None:
    context = json.dumps([{"__enum__": True, "fqn": "antigravity:x", "name": "y"}])
    tree = {"type": "builtins.dict", "context": context, "children_spec": []}
    call = document["graph_module"]["module_call_graph"][0]["signature"]
    call["out_spec"] = json.dumps([1, tree])


def plant_constant(document: dict, code: str) -> None:
    spec = {"constant_input": {"name": "k", "value": {"as_string": f"'+{code}+'"}}}
    document["graph_module"]["signature"]["input_specs"].append(spec)


def plant_attribute(document: dict, code: str) -> None:
    specs = document["graph_module"]["signature"]["input_specs"]
    specs[0]["parameter"]["parameter_name"] = f'conv"), {code}, ("weight'


def plant_subgraph(document: dict, code: str) -> None:
    node = document["graph_module"]["graph"]["nodes"][-1]
    node["inputs"][0]["arg"] = {"as_graph": {"name": "g", "graph": {}}}


def plant_script_object(document: dict, code: str) -> None:
    custom = {"name": "o", "class_fqn": "__torch__.torch.classes.x.Y"}
    document["graph_module"]["graph"]["custom_obj_values"]["o"] = custom


def plant_count(document: dict, code: str) -> None:
    document["range_constraints"]["u999999999"] = {"min_val": 0, "max_val": None}


def plant_device(document: dict, code: str) -> None:
    text = json.dumps(document).replace('"type": "cpu"', '"type": "cuda"')
    document.clear()
    document.update(json.loads(text))


PLANTS = [
    plant_size,
    plant_guard,
    plant_name,
    plant_call,
    plant_import,
    plant_constant,
    plant_attribute,
    plant_subgraph,
    plant_script_object,
    plant_count,
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_code_in_the_program_is_refused(entries, tmp_path, plant, refused, edited):
    bad = edited(entries, PROGRAM, lambda d: plant(d, touch(tmp_path)))
    refused(write_entries(bad), tmp_path, UnsafeFileError)


@pytest.mark.parametrize("plant", [plant_size, plant_guard], ids=["size", "guard"])
def test_torch_itself_would_run_it(program, tmp_path, plant, edited):
    """The oracle of the test above: these plants are live ammunition."""
    torch.export.save(program, tmp_path / "m.pt2")
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        entries = {i.filename.partition("/")[2]: archive.read(i) for i in archive.infolist()}
    bad = edited(entries, PROGRAM, lambda d: plant(d, touch(tmp_path)))
    with contextlib.suppress(Exception):
        torch.export.load(io.BytesIO(write_entries(bad))).module()(torch.rand(2, 3, 16, 24))
    assert (tmp_path / "pwned").exists()


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_sample_inputs_are_never_unpickled(entries, tmp_path):
    buffer = io.BytesIO()
    torch.save((Bomb(tmp_path / "pwned"), {}), buffer, pickle_module=pickle)
    content = write_entries({**entries, SAMPLES: buffer.getvalue()})
    (tmp_path / "m.pt2").write_bytes(content)
    assert not open_pt2(tmp_path / "m.pt2").example_inputs[0][0].any()
    assert not (tmp_path / "pwned").exists()
    with contextlib.suppress(Exception):
        torch.export.load(tmp_path / "m.pt2")  # the oracle: torch itself runs it
    assert (tmp_path / "pwned").exists()


def test_other_device_is_named(entries, tmp_path, refused, edited):
    bad = edited(entries, PROGRAM, lambda d: plant_device(d, ""))
    refused(write_entries(bad), tmp_path, CorruptFileError, "cuda")


@pytest.mark.parametrize(
    "size",
    [
        "9**9**9",
        "Pow(Integer(9), Integer(99))",
        "Integer(" + "9" * 500 + ")",
        "s0 << 99",
        "s0" * 20_000,
        "lambda: 0",
        "Symbol('s0').func",
        "Symbol('a b')",
        "Symbol('s0', positive=print())",
        "x" * 10,
    ],
)
def test_size_that_is_not_plain_arithmetic_is_refused(entries, tmp_path, size, refused, edited):
    bad = edited(entries, PROGRAM, lambda d: plant_size(d, size))
    refused(write_entries(bad), tmp_path, UnsafeFileError)


@pytest.mark.parametrize(
    "guard",
    [
        "L['x'].data",
        "L['x'].size(print())",
        "L[print()]",
        "torch.save(1)",
        "math.factorial(9**8)",
        "L['x\"'].size()[0] == 1",
        "1 if 2 else 3",
        "(9**8)**8 == 1",
        "f'{1}' == 1",
        "L.size",
    ],
)
def test_guard_beyond_comparing_sizes_is_refused(entries, tmp_path, guard, refused, edited):
    bad = edited(entries, PROGRAM, lambda d: plant_guard(d, guard))
    refused(write_entries(bad), tmp_path, UnsafeFileError)


@pytest.mark.parametrize(
    "broken", [b"{}", b"null", b"3", b'{"graph_module": {}}', b"[" * 5000 + b"]" * 5000]
)
def test_incomplete_program_is_refused(entries, tmp_path, broken, refused):
    content = write_entries({**entries, PROGRAM: broken})
    refused(content, tmp_path, (CorruptFileError, UnsafeFileError))


def test_program_that_torch_cannot_read_is_corrupt(entries, tmp_path, refused, edited):
    bad = edited(entries, PROGRAM, lambda d: d["graph_module"]["graph"]["nodes"].reverse())
    refused(write_entries(bad), tmp_path, CorruptFileError, "cannot read the program")


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("torch.ops.aten.conv2d.default", True),
        ("torch.ops.aten.relu_.default", True),
        ("torch.ops.aten.upsample_bilinear2d.vec", True),
        ("_operator.floordiv", True),
        ("torch.sym_max", True),
        ("torch.ops.aten.from_file.default", False),
        ("torch.ops.aten.set_.source_Tensor", False),
        ("torch.ops.aten._unsafe_index.Tensor", False),
        ("torch.ops.aten.add.out", False),
        ("torch.ops.aten.sum.IntList_out", False),
        ("torch.ops.higher_order.cond", False),
        ("torch.ops.mine.conv2d.default", False),
        ("torch.ops.aten.conv2d.default.__class__", False),
        ("torch.load", False),
        ("_operator.attrgetter", False),
        ("math.factorial", False),
        ("#extension:op", False),
    ],
)
def test_operator_list(target, allowed):
    assert is_allowed(target) is allowed
