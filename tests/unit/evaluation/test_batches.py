"""Any number of images through files that are fixed to some batch sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.board.tensors import InputInfo
from compactmtl.errors import UsageError
from compactmtl.evaluation.batches import in_batches


class Counting:
    """Doubles images, of batch sizes within limits only."""

    runtime = "numpy"

    def __init__(self, least, most, shape=("n", 3, "h", "w")):
        self.least, self.most = least, most
        self.inputs = (InputInfo("image", shape, "float32"),)
        self.sizes = []

    def __call__(self, inputs):
        (image,) = inputs.values()
        assert self.least <= len(image) <= self.most
        self.sizes.append(len(image))
        return {"double": image * 2, "mean": image.mean((1, 2, 3))}


def build(least, most):
    return {"profile": {"image": [[n, 3, 4, 5] for n in (least, most, most)]}}


@given(num=st.integers(1, 9), least=st.integers(1, 4), more=st.integers(0, 4))
def test_all_images_come_back_in_order_whatever_the_profile_takes(num, least, more):
    session = Counting(least, least + more)
    images = torch.rand(num, 3, 4, 5)
    got = in_batches(session, "x", build=build(least, least + more))(images)
    torch.testing.assert_close(got["double"], images * 2, rtol=0, atol=0)
    np.testing.assert_allclose(got["mean"], images.mean((1, 2, 3)), rtol=1e-6)
    assert len(session.sizes) == -(-num // (least + more))


@given(num=st.integers(1, 9), fixed=st.integers(1, 4))
def test_a_fixed_batch_is_filled_up(num, fixed):
    session = Counting(fixed, fixed, (fixed, 3, 4, 5))
    images = torch.rand(num, 3, 4, 5)
    got = in_batches(session, "x", build=None)(images)
    torch.testing.assert_close(got["double"], images * 2, rtol=0, atol=0)


def test_without_limits_it_is_one_call():
    session = Counting(1, 99)
    in_batches(session, "x", build={"profile": {}})(torch.rand(50, 3, 4, 5))
    assert session.sizes == [50]


def test_images_of_another_size_are_refused():
    predict = in_batches(Counting(1, 9, ("n", 3, 4, 6)), "x.onnx", build=None)
    with pytest.raises(UsageError, match=r"`x.onnx` is fixed to \['n', 3, 4, 6\]"):
        predict(torch.rand(1, 3, 4, 5))
