import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from compactmtl.compiler.source import example_inputs, load_source
from compactmtl.errors import CorruptFileError, MissingFileError, PartError, UsageError

BUILD = "own_pair:build"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with a network of two inputs and its weights."""
    (tmp_path / "own_pair.py").write_text(
        "from torch import nn\n"
        "class Pair(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(1, 2, 1)\n"
        "    def forward(self, image, hint):\n"
        "        return self.a(image) + self.b(hint)\n"
        "def build():\n"
        "    return Pair()\n"
        "def wrong():\n"
        "    return 3\n"
        "def broken():\n"
        "    return {}['width']\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    pair = nn.ModuleDict({"a": nn.Conv2d(3, 2, 1), "b": nn.Conv2d(1, 2, 1)})
    save_file(pair.state_dict(), tmp_path / "w.safetensors")
    torch.save({"net": pair.state_dict(), "step": 3}, tmp_path / "w.pt")
    return tmp_path


def test_shapes_are_parsed_in_their_order() -> None:
    found = example_inputs(["image=1x3x384x640", "hint=2X1"])
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "image": (1, 3, 384, 640),
        "hint": (2, 1),
    }
    assert list(example_inputs(["b=1", "a=1"])) == ["b", "a"]


def test_a_type_of_numbers_is_taken_or_suggested() -> None:
    found = example_inputs(["index=2x5:int64", "mask=1x4:bool", "half=3:float16"])
    assert [value.dtype for value in found.values()] == [torch.int64, torch.bool, torch.float16]
    assert set(found["index"].unique().tolist()) <= {0, 1}
    with pytest.raises(UsageError, match=r"`int65`; did you mean `int64`\?"):
        example_inputs(["index=1x3:int65"])


@pytest.mark.parametrize(
    "text",
    ["1x3x8x8", "=1x3", "image=", "image=1x0x8", "image=1x-3", "image=1,3", "image=1xx3", "a=²"],
)
def test_a_shape_of_another_form_is_shown_as_it_was_typed(text) -> None:
    with pytest.raises(UsageError, match="expected NAME=SHAPE, as in image=1x3x384x640") as error:
        example_inputs([text])
    assert repr(text) in error.value.message


def test_a_name_is_given_once() -> None:
    with pytest.raises(UsageError, match="`image` is given twice"):
        example_inputs(["image=1x3x8x8", "image=1x3x9x9"])


def test_inputs_go_to_the_parameters_of_forward_that_carry_their_names(here) -> None:
    source = load_source(
        here / "w.safetensors", model=BUILD, inputs=["hint=1x1x8x8", "image=1x3x8x8"]
    )
    assert source.input_names == ["image", "hint"]
    assert [tuple(value.shape) for value in source.example_inputs] == [(1, 3, 8, 8), (1, 1, 8, 8)]
    assert source.parent["file"] == "w.safetensors"
    assert source.how == "4 weights from `w.safetensors` (safetensors)"
    renamed = load_source(here / "w.pt", model=BUILD, inputs=["rgb=1x3x8x8", "hint=1x1x8x8"])
    assert renamed.input_names == ["rgb", "hint"]
    output: Tensor = renamed.model(*renamed.example_inputs)
    assert output.shape == (1, 2, 8, 8)


@pytest.mark.parametrize("file", ["w.pt", "w.safetensors"])
def test_weights_without_a_network_say_what_is_missing(here, file) -> None:
    with pytest.raises(UsageError, match=r"holds weights .*, but not the network") as error:
        load_source(here / file, inputs=["image=1x3x8x8"])
    assert "--model package.module:factory" in error.value.hint


def test_what_is_neither_checkpoint_nor_weights_keeps_its_own_error(here) -> None:
    (here / "junk").write_bytes(b"junk that is no archive")
    for model in (None, BUILD):
        with pytest.raises(CorruptFileError, match="junk"):
            load_source(here / "junk", model=model, inputs=["image=1x3x8x8"])
    with pytest.raises(MissingFileError):
        load_source(here / "none.pt", model=BUILD, inputs=["image=1x3x8x8"])


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        ("segnet", ["image=1x3x8x8"], "expected package.module:factory"),
        (BUILD, [], "needs the input's shape"),
        ("own_pair:biuld", ["image=1x3x8x8"], "did you mean `build`"),
        ("own_pair:wrong", ["image=1x3x8x8"], "returned a int, expected a torch.nn.Module"),
        ("own_pair:broken", ["image=1x3x8x8"], "failed: KeyError: 'width' .*own_pair.py:13"),
        ("no_such_module:f", ["image=1x3x8x8"], "cannot import `no_such_module`"),
    ],
)
def test_a_network_that_cannot_be_made_is_one_line(here, model, inputs, words) -> None:
    with pytest.raises(UsageError, match=words) as error:
        load_source(here / "w.pt", model=model, inputs=inputs)
    assert isinstance(error.value, PartError) or "shape" in words
    assert "\n" not in error.value.message
