"""What users type, and the recipe that it becomes."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.board.errors import AskedError, DamagedError
from compactmtl.board.recipe import TAKEN, BuildRecipe, from_dict
from compactmtl.board.words import parse_batch, parse_bytes, parse_capability, parse_size

sides = st.integers(1, 4096)


@given(st.lists(sides, min_size=3, max_size=3).map(sorted))
def test_a_range_of_batches_is_read_as_written(sizes):
    assert parse_batch(":".join(map(str, sizes))) == tuple(sizes)
    assert parse_batch(str(sizes[0])) == (sizes[0],) * 3


@given(*[st.lists(sides, min_size=3, max_size=3).map(sorted)] * 2)
def test_a_range_of_sizes_is_read_as_written(heights, widths):
    pairs = list(zip(heights, widths, strict=True))
    assert parse_size(":".join(f"{h}x{w}" for h, w in pairs)) == tuple(pairs)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_in_one_line(text):
    for parse in (parse_batch, parse_size, parse_bytes, parse_capability):
        with contextlib.suppress(AskedError):
            assert parse(text)


@pytest.mark.parametrize(
    ("text", "size"), [("1GiB", 2**30), ("512MiB", 2**29), ("1.5 GB", 15 * 10**8), ("7", 7)]
)
def test_sizes_in_bytes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_batch, "0"),
        (parse_batch, "1:2"),
        (parse_batch, "4:2:8"),
        (parse_size, "384"),
        (parse_size, "384x640:256x320"),
        (parse_size, "384x640:256x320:512x640"),
        (parse_bytes, "0GiB"),
        (parse_bytes, "1 TiB"),
        (parse_capability, "89"),
        (parse_capability, "sm_89"),
    ],
)
def test_what_means_nothing_is_refused(parse, text):
    with pytest.raises(AskedError):
        parse(text)


recipes = st.builds(
    BuildRecipe,
    batch=st.none() | st.tuples(sides, sides, sides),
    size=st.none() | st.tuples(*[st.tuples(sides, sides)] * 3),
    workspace_bytes=st.integers(1, 2**40),
    compute_capabilities=st.lists(st.sampled_from(["8.9", "12.0"])).map(tuple),
    version_compatible=st.booleans(),
    hardware_compatible=st.booleans(),
    weak_typing=st.sampled_from([None, "fp16", "int8"]),
)


@given(recipes)
def test_a_recipe_survives_its_journey_as_json(recipe):
    assert from_dict(json.loads(json.dumps(recipe.to_dict())), "tensorrt.json") == recipe


@pytest.mark.parametrize(
    "document",
    [
        {"bach": [1, 4, 16]},
        {"batch": [1, 4]},
        {"batch": [1, 4, "16"]},
        {"batch": 4},
        {"size": [[384, 640]]},
        {"size": [[384, 640, 3]] * 3},
        {"size": [1, 2, 3]},
        {"workspace_bytes": True},
        {"workspace_bytes": -1},
        {"compute_capabilities": [8.9]},
        {"compute_capabilities": None},
        {"version_compatible": 1},
        {"weak_typing": "fp8"},
    ],
)
def test_a_damaged_recipe_is_refused_by_name(document):
    with pytest.raises(DamagedError, match=next(iter(document))):
        from_dict(document, "tensorrt.json")


@pytest.mark.parametrize("flavour", TAKEN)
def test_what_a_flavour_does_not_take_is_refused_by_name(flavour):
    asked = {
        "compute_capabilities": ("8.9",),
        "version_compatible": True,
        "hardware_compatible": True,
        "weak_typing": "fp16",
    }
    BuildRecipe(batch=(1, 1, 1)).check_taken(flavour)
    for name, value in asked.items():
        recipe = BuildRecipe(**{name: value})
        if name in TAKEN[flavour]:
            recipe.check_taken(flavour)
        else:
            with pytest.raises(AskedError, match=f"takes no `{name}`"):
                recipe.check_taken(flavour)
