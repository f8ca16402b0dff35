"""A failed verification names the first wrong value and the rule that made it."""

import pytest
import torch

from compactmtl.compiler import compress
from compactmtl.compiler.rules.batch_norm import BatchNorm
from compactmtl.compiler.rules.conv import Conv
from compactmtl.errors import VerificationError

IMAGE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def refused(net: torch.nn.Module, **options: object) -> str:
    with pytest.raises(VerificationError) as error:
        compress(net, IMAGE, **{"dynamic": False, **options})
    assert error.value.hint.startswith("this is a bug in a compiler rule")
    return error.value.message


@pytest.mark.parametrize("layer", ["encoder.0.0", "encoder.2.0", "heads.depth"])
def test_a_layer_that_is_cut_wrongly_is_named(segnet, monkeypatch, layer) -> None:
    cut = Conv.lower

    def wrong(self, node, lowering):
        layout = cut(self, node, lowering)
        if node.args[1].target == f"{layer}.weight":
            lowering._tensors[f"{layer}.weight"] *= 1 + 1e-6
        return layout

    monkeypatch.setattr(Conv, "lower", wrong)
    message = refused(segnet)
    assert f"layer `{layer}`, op `conv2d`" in message
    assert "rule Conv" in message
    assert message.endswith("nothing was written")


def test_a_constant_that_is_none_is_named_where_it_is_claimed(segnet, monkeypatch) -> None:
    known = BatchNorm.constants

    def wrong(self, node, facts):
        constants = known(self, node, facts)
        if node.name == "batch_norm_3":
            constants = constants.nan_to_num(0.5)
        return constants

    monkeypatch.setattr(BatchNorm, "constants", wrong)
    message = refused(segnet)
    assert "said to be constant and is not is `batch_norm_3` (layer `encoder.3.1`" in message
    assert "rule BatchNorm" in message
