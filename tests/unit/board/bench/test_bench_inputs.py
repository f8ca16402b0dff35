import numpy as np
import pytest

from compactmtl.board.bench.inputs import make_inputs
from compactmtl.board.errors import AskedError
from compactmtl.board.stored import Stored
from compactmtl.board.tensors import InputInfo

FREE = InputInfo("image", ("batch", 3, "height", "width"), "float32")
FIXED = InputInfo("image", (1, 3, 8, 8), "float32")
NOTHING = None


def stored(*shape, dtype=np.float32):
    return Stored({"image": np.arange(np.prod(shape)).reshape(shape).astype(dtype)}, "rooms")


def test_stored_samples_are_repeated_to_the_batch():
    inputs, source = make_inputs([FREE], stored(2, 3, 4, 5), batch=5, size=None)
    assert source == "inputs.npz (rooms)"
    assert inputs["image"].shape == (5, 3, 4, 5)
    np.testing.assert_array_equal(inputs["image"][4], inputs["image"][0])


def test_another_size_is_random_and_says_so():
    for options in (stored(2, 3, 4, 5), NOTHING):
        inputs, source = make_inputs([FREE], options, batch=2, size=(6, 7))
        assert inputs["image"].shape == (2, 3, 6, 7)
        assert inputs["image"].dtype == np.float32
        assert "random" in source
    again, _ = make_inputs([FREE], NOTHING, batch=2, size=(6, 7))
    np.testing.assert_array_equal(again["image"], inputs["image"])


def test_fixed_dimensions_win_or_refuse():
    inputs, _ = make_inputs([FIXED], NOTHING, batch=1, size=None)
    assert inputs["image"].shape == (1, 3, 8, 8)
    with pytest.raises(AskedError, match="axis 0 cannot be 2"):
        make_inputs([FIXED], NOTHING, batch=2, size=None)
    with pytest.raises(AskedError, match="axis 3 cannot be 9"):
        make_inputs([FIXED], NOTHING, batch=1, size=(8, 9))


def test_what_cannot_be_guessed_is_asked_for():
    with pytest.raises(AskedError, match="free dimension `height`") as error:
        make_inputs([FREE], NOTHING, batch=1, size=None)
    assert "--size" in error.value.hint
    tokens = InputInfo("tokens", ("batch", 4), "int64")
    with pytest.raises(AskedError, match="int64"):
        make_inputs([tokens], NOTHING, batch=1, size=None)
