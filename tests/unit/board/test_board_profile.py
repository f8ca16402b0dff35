"""Which shapes an engine takes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactmtl.board.errors import AskedError
from compactmtl.board.profile import make_profile

FREE = {"image": [None, 3, None, None]}
EXAMPLE = {"image": [8, 3, 384, 640]}


def profile(inputs=FREE, *, batch=None, size=None, example=EXAMPLE):
    return make_profile(inputs, batch=batch, size=size, example=example)


def test_without_a_word_it_is_that_of_the_stored_samples():
    assert profile() == {"image": ((1, 3, 384, 640), (1, 3, 384, 640), (8, 3, 384, 640))}


def test_what_is_asked_for_needs_no_sample():
    sizes = ((256, 320), (384, 640), (512, 640))
    assert profile(batch=(1, 4, 16), size=sizes, example={}) == {
        "image": ((1, 3, 256, 320), (4, 3, 384, 640), (16, 3, 512, 640))
    }


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=3),
        st.lists(st.none() | st.integers(1, 9), min_size=1, max_size=5),
        min_size=1,
        max_size=3,
    ),
    st.none() | st.lists(st.integers(1, 9), min_size=3, max_size=3).map(sorted).map(tuple),
)
def test_shapes_grow_keep_what_is_fixed_and_hold_the_usual_one(inputs, batch):
    example = {name: [size or 7 for size in shape] for name, shape in inputs.items()}
    if batch and any(
        shape[0] is not None and {shape[0]} != set(batch) for shape in inputs.values()
    ):
        with pytest.raises(AskedError, match="is fixed to"):
            profile(inputs, batch=batch, example=example)
        return
    chosen = profile(inputs, batch=batch, example=example)
    assert chosen.keys() == inputs.keys()
    for name, (low, usual, high) in chosen.items():
        for axis, fixed in enumerate(inputs[name]):
            assert 1 <= low[axis] <= usual[axis] <= high[axis]
            if fixed is not None:
                assert low[axis] == high[axis] == fixed
            if batch and axis == 0:
                assert (low[0], usual[0], high[0]) == batch


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"example": {"picture": [8, 3, 8, 8]}}, "no input `picture`; its inputs are: image"),
        ({"example": {}}, "free in dimension 0"),
        ({"example": {}, "batch": (1, 1, 1)}, "free in dimension 2"),
        ({"example": {"image": [8, 3, 384]}}, "has 4 dimensions"),
        ({"inputs": {"image": [8, 3, None, None]}, "batch": (1, 4, 16)}, "fixed to 8"),
        ({"inputs": {"image": [None, 3, 8, 8]}, "size": ((8, 16),) * 3}, "fixed to 8 in dimension"),
        ({"inputs": {"image": [None, 3]}, "size": ((8, 8),) * 3}, "no such input"),
        ({"batch": (1, 4, 10**6)}, "at most"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, words):
    with pytest.raises(AskedError, match=words):
        profile(**changes)
