"""A stored program runs after a round trip; every hostile kind of file is refused unread."""

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compactmtl.errors import (
    CompactMTLError,
    CorruptFileError,
    MissingFileError,
    UnsafeFileError,
    WriteError,
)
from compactmtl.pt2 import open_pt2, read_manifest, save_pt2
from compactmtl.pt2.archive import CONSTANTS, PROGRAM, SAMPLES, WEIGHTS, write_entries
from compactmtl.pt2.ops import is_allowed

Entries = dict[str, bytes]


class Net(nn.Module):
    """Pooling with indices, sizes in the graph, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 2, 1)
        self.register_buffer("scale", torch.full((1, 8, 1, 1), 2.0), persistent=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = torch.relu_(self.norm(self.conv(image))) * self.scale
        pooled, where = nn.functional.max_pool2d(x, 2, 2, return_indices=True)
        x = nn.functional.max_unpool2d(pooled, where, 2, 2, output_size=x.shape[-2:])
        return {"seg": self.head(x), "mean": x.mean((2, 3))}


def capture(model: nn.Module) -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    auto = torch.export.Dim.DYNAMIC
    image = torch.rand(2, 3, 16, 24)
    return torch.export.export(
        model.eval(), (image,), dynamic_shapes=({0: auto, 2: auto, 3: auto},)
    )


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    return capture(Net())


@pytest.fixture(scope="module")
def saved(program, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    save_pt2(program, path, {"tasks": {"seg": {}}})
    return path


@pytest.fixture
def entries(saved) -> Entries:
    with zipfile.ZipFile(saved) as archive:
        return {i.filename.partition("/")[2]: archive.read(i) for i in archive.infolist()}


def edited(entries: Entries, path: str, change: Callable[[dict], object]) -> Entries:
    document = json.loads(entries[path])
    change(document)
    return {**entries, path: json.dumps(document).encode()}


def refused(
    content: bytes, folder: Path, kind: type[CompactMTLError], match: str | None = None
) -> None:
    (folder / "bad.pt2").write_bytes(content)
    with pytest.raises(kind, match=match) as caught:
        open_pt2(folder / "bad.pt2")
    assert "\n" not in caught.value.message
    assert not (folder / "pwned").exists()


# --- round trip ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (1, 3, 32, 40)])
def test_opened_program_computes_the_same(program, saved, shape):
    image = torch.rand(shape)
    expected, got = program.module()(image), open_pt2(saved).module()(image)
    assert list(got) == ["seg", "mean"]
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_guards_survive(saved):
    with pytest.raises(AssertionError, match="Guard failed"):
        open_pt2(saved).module()(torch.rand(2, 3, 3, 24))


def test_saving_does_not_change_the_program(tmp_path):
    model = Net().to(memory_format=torch.channels_last)
    wide = torch.rand(4, 8, 1, 1)
    model.head.weight = nn.Parameter(wide[:2])  # a view: torch would store all of `wide`
    program = capture(model)
    before = dict(program.state_dict)
    save_pt2(program, tmp_path / "m.pt2", {})
    assert all(program.state_dict[name] is tensor for name, tensor in before.items())
    loaded = open_pt2(tmp_path / "m.pt2").state_dict
    assert all(torch.equal(loaded[name], tensor) for name, tensor in before.items())
    assert loaded["head.weight"].untyped_storage().nbytes() == 2 * 8 * 4


def test_tied_weights_are_stored_once(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    model[1].weight = model[0].weight
    save_pt2(capture(model), tmp_path / "m.pt2", {})
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        stored = [n for n in archive.namelist() if "/weight_" in n]
    assert len(stored) == 3
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(open_pt2(tmp_path / "m.pt2").module()(image), model(image))


def test_file_names_no_folder_of_this_machine(saved):
    content = saved.read_bytes()
    assert str(Path(__file__).parent).encode() not in content
    assert os.fsencode(Path(torch.__file__).parent) not in content


def test_same_program_gives_the_same_bytes(program, saved, tmp_path):
    save_pt2(program, tmp_path / "again.pt2", {"tasks": {"seg": {}}})
    assert (tmp_path / "again.pt2").read_bytes() == saved.read_bytes()


def test_file_of_torch_itself_opens_with_blank_samples(program, tmp_path):
    torch.export.save(program, tmp_path / "foreign.pt2")
    ((image,), keywords) = open_pt2(tmp_path / "foreign.pt2").example_inputs
    assert image.shape == (2, 3, 16, 24)
    assert image.dtype == torch.float32
    assert not image.any()
    assert keywords == {}


def test_manifest_is_read_back(saved):
    assert read_manifest(saved) == {"format_version": 1, "tasks": {"seg": {}}}


def test_manifest_missing_or_of_another_version(program, tmp_path):
    torch.export.save(program, tmp_path / "foreign.pt2")
    with pytest.raises(CorruptFileError, match="without a manifest"):
        read_manifest(tmp_path / "foreign.pt2")
    save_pt2(program, tmp_path / "new.pt2", {"format_version": 99})
    with pytest.raises(CorruptFileError, match="format_version 99"):
        read_manifest(tmp_path / "new.pt2")
    with pytest.raises(MissingFileError):
        read_manifest(tmp_path / "nowhere.pt2")


def test_failed_save_leaves_the_earlier_file(program, tmp_path):
    (tmp_path / "m.pt2").write_bytes(b"earlier")
    with pytest.raises(ValueError, match="JSON"):
        save_pt2(program, tmp_path / "m.pt2", {"loss": float("nan")})
    assert (tmp_path / "m.pt2").read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [tmp_path / "m.pt2"]
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        save_pt2(program, tmp_path / "file" / "m.pt2", {})


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(x)


def test_save_refuses_what_open_would_refuse(tmp_path):
    with pytest.raises(UnsafeFileError, match=r"linalg_svdvals"):
        save_pt2(capture(Random()), tmp_path / "m.pt2", {})
    assert list(tmp_path.iterdir()) == []


# --- the archive ---------------------------------------------------------------------------------


def zipped(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def rooted(entries: Entries) -> list[tuple[str, bytes]]:
    return [(f"archive/{path}", content) for path, content in entries.items()]


def test_rebuilt_archive_opens(entries, tmp_path):
    """The oracle of this section: without a planted fault the same construction is accepted."""
    (tmp_path / "ok.pt2").write_bytes(zipped(rooted(entries)))
    assert open_pt2(tmp_path / "ok.pt2").state_dict["conv.weight"].shape == (8, 3, 3, 3)


@pytest.mark.parametrize(
    "name",
    [
        "archive/../../pwned",
        "/pwned",
        "archive/data/../pwned",
        "archive\\pwned",
        "pwned",
        "other/x",
    ],
)
def test_climbing_or_foreign_names_are_refused(entries, tmp_path, name):
    refused(zipped([*rooted(entries), (name, b"x")]), tmp_path, UnsafeFileError)


def test_nul_in_a_name_is_refused(entries, tmp_path):
    content = zipped([*rooted(entries), ("archive/extra/aXb", b"x")])
    refused(content.replace(b"extra/aXb", b"extra/a\0b"), tmp_path, UnsafeFileError)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_entries_are_refused(entries, tmp_path):
    twice = [*rooted(entries), ("archive/" + PROGRAM, entries[PROGRAM])]
    refused(zipped(twice), tmp_path, UnsafeFileError, "twice")


def test_compressed_entries_are_refused(entries, tmp_path):
    bomb = {**entries, "extra/bomb": bytes(10_000_000)}
    refused(zipped(rooted(bomb), zipfile.ZIP_DEFLATED), tmp_path, UnsafeFileError, "compressed")


def test_declared_sizes_beyond_the_file_are_refused(entries, tmp_path):
    """Many index records that all point at the same bytes: a bomb without compression."""
    buffer = io.BytesIO(zipped([*rooted(entries), ("archive/extra/a", bytes(10**6))]))
    with zipfile.ZipFile(buffer, "a") as archive:
        source = archive.getinfo("archive/extra/a")
        for number in range(50):
            copy = zipfile.ZipInfo(f"archive/extra/a{number}")
            copy.file_size = copy.compress_size = source.file_size
            copy.CRC, copy.header_offset = source.CRC, source.header_offset
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True
    refused(buffer.getvalue(), tmp_path, UnsafeFileError, "declare")


def test_size_that_differs_from_the_packed_size_is_refused(entries, tmp_path):
    content = bytearray(zipped(rooted(entries)))
    record = content.rindex(b"PK\x01\x02")
    (size,) = struct.unpack_from("<I", content, record + 24)
    struct.pack_into("<I", content, record + 24, size - 1)
    refused(bytes(content), tmp_path, UnsafeFileError, "declare")


def test_changed_byte_in_a_weight_is_corrupt(saved, entries, tmp_path):
    content = saved.read_bytes()
    weight = entries["data/weights/weight_0"]
    flipped = content.replace(weight, bytes([weight[0] ^ 1]) + weight[1:])
    assert flipped != content
    refused(flipped, tmp_path, CorruptFileError, "CRC")


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.0, 0.999))
def test_truncated_file_is_corrupt(saved, tmp_path_factory, share):
    content = saved.read_bytes()
    folder = tmp_path_factory.mktemp("cut")
    refused(content[: int(share * len(content))], folder, CorruptFileError)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_file_never_raises_anything_else(saved, tmp_path_factory, data):
    content = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("noise") / "m.pt2"
    path.write_bytes(content)
    with contextlib.suppress(CompactMTLError):
        assert open_pt2(path).graph is not None


@pytest.mark.parametrize(
    "missing", ["archive_format", "archive_version", PROGRAM, WEIGHTS, CONSTANTS]
)
def test_missing_entry_is_named(entries, tmp_path, missing):
    del entries[missing]
    refused(zipped(rooted(entries)), tmp_path, CorruptFileError, missing)


@pytest.mark.parametrize("entry", ["archive_format", "archive_version", "byteorder"])
def test_other_version_is_corrupt(entries, tmp_path, entry):
    content = zipped(rooted({**entries, entry: b"7"}))
    refused(content, tmp_path, CorruptFileError, "version|byte order")


@pytest.mark.parametrize(
    "entry",
    [
        "data/aotinductor/model/x.so",
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "models/second.json",
        "data/executorch/model.pte",
        "code/__init__.py",
    ],
)
def test_entry_that_no_program_needs_is_refused(entries, tmp_path, entry):
    content = zipped(rooted({**entries, entry: b"x"}))
    refused(content, tmp_path, UnsafeFileError, entry.split("/")[-1])


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "legacy"])
def test_checkpoint_is_not_a_program(tmp_path, zip_format):
    buffer = io.BytesIO()
    torch.save({"model": {}}, buffer, _use_new_zipfile_serialization=zip_format)
    refused(buffer.getvalue(), tmp_path, CorruptFileError, "torch.save|not a zip")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"], ids=["empty", "text", "head"])
def test_other_content_is_corrupt(tmp_path, content):
    refused(content, tmp_path, CorruptFileError)


def test_missing_file(tmp_path):
    with pytest.raises(MissingFileError):
        open_pt2(tmp_path / "nowhere.pt2")


# --- tensors -------------------------------------------------------------------------------------


def first(document: dict, **change: object) -> None:
    document["config"]["conv.weight"]["tensor_meta"].update(change)


def ints(*values: int) -> list[dict[str, int]]:
    return [{"as_int": value} for value in values]


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": ints(9, 3, 3, 3)},
        {"sizes": ints(8, 3, 3, 2)},
        {"sizes": ints(8, 3, 3)},
        {"sizes": ints(-8, 3, 3, 3)},
        {"sizes": ints(2**60, 3, 3, 3)},
        {"sizes": [{"as_expr": {"expr_str": "s0", "hint": None}}] * 4},
        {"strides": ints(27, 9, 3, 2)},
        {"strides": ints(0, 0, 0, 0), "sizes": ints(10**9, 10**9, 1, 1)},
        {"storage_offset": {"as_int": 5}},
        {"dtype": 8},
        {"dtype": 6},
        {"dtype": 99},
        {"dtype": [7]},
        {"layout": 1},
        {"device": {"type": "cuda", "index": 0}},
        {"requires_grad": "yes"},
        {"more": 1},
    ],
    ids=str,
)
def test_weight_that_differs_from_its_bytes_is_corrupt(entries, tmp_path, change):
    bad = edited(entries, WEIGHTS, lambda d: first(d, **change))
    refused(write_entries(bad), tmp_path, CorruptFileError, r"conv\.weight|weight_0")


def test_short_weight_is_corrupt(entries, tmp_path):
    entries["data/weights/weight_0"] = entries["data/weights/weight_0"][:-4]
    refused(write_entries(entries), tmp_path, CorruptFileError, "860 bytes.*864")


def test_missing_weight_is_corrupt(entries, tmp_path):
    del entries["data/weights/weight_0"]
    refused(write_entries(entries), tmp_path, CorruptFileError, "weight_0")


def test_graph_that_disagrees_with_the_weights_is_corrupt(entries, tmp_path):
    def change(document: dict) -> None:
        values = document["graph_module"]["graph"]["tensor_values"]
        values["p_conv_weight"]["sizes"] = ints(8, 3, 5, 5)

    refused(write_entries(edited(entries, PROGRAM, change)), tmp_path, CorruptFileError, "used as")


@pytest.mark.parametrize("table", [WEIGHTS, CONSTANTS])
def test_pickled_tensor_is_refused(entries, tmp_path, table):
    def change(document: dict) -> None:
        next(iter(document["config"].values()))["use_pickle"] = True

    bad = edited(entries, table, change)
    refused(write_entries(bad), tmp_path, UnsafeFileError, "pickled")


@pytest.mark.parametrize("table", [b"[]", b'{"config": []}', b"{", b"[" * 100_000])
def test_broken_table_is_corrupt(entries, tmp_path, table):
    refused(write_entries({**entries, WEIGHTS: table}), tmp_path, CorruptFileError)


# --- the program ---------------------------------------------------------------------------------


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
def test_code_in_the_program_is_refused(entries, tmp_path, plant):
    bad = edited(entries, PROGRAM, lambda d: plant(d, touch(tmp_path)))
    refused(write_entries(bad), tmp_path, UnsafeFileError)


@pytest.mark.parametrize("plant", [plant_size, plant_guard], ids=["size", "guard"])
def test_torch_itself_would_run_it(program, tmp_path, plant):
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


def test_other_device_is_named(entries, tmp_path):
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
def test_size_that_is_not_plain_arithmetic_is_refused(entries, tmp_path, size):
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
def test_guard_that_is_not_a_comparison_of_sizes_is_refused(entries, tmp_path, guard):
    bad = edited(entries, PROGRAM, lambda d: plant_guard(d, guard))
    refused(write_entries(bad), tmp_path, UnsafeFileError)


@pytest.mark.parametrize(
    "broken", [b"{}", b"null", b"3", b'{"graph_module": {}}', b"[" * 5000 + b"]" * 5000]
)
def test_incomplete_program_is_refused(entries, tmp_path, broken):
    content = write_entries({**entries, PROGRAM: broken})
    refused(content, tmp_path, (CorruptFileError, UnsafeFileError))


def test_program_that_torch_cannot_read_is_corrupt(entries, tmp_path):
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
