import pytest

from compactmtl.compiler.names import choose_names
from compactmtl.errors import UsageError


def test_the_networks_own_names_stay_where_none_are_given() -> None:
    assert choose_names("output", None, ["seg", "depth"]) == ["seg", "depth"]


def test_new_names_go_by_position() -> None:
    assert choose_names("output", ["seg", "depth"], ["output", "output_1"]) == ["seg", "depth"]
    assert choose_names("output", ["seg", "aux"], ["out", "aux"]) == ["seg", "aux"]


def test_the_same_names_in_another_order_never_exchange_two_outputs() -> None:
    assert choose_names("output", ["depth", "seg"], ["seg", "depth"]) == ["seg", "depth"]
    with pytest.raises(UsageError, match="`depth` is given to the network's `seg`, but") as error:
        choose_names("output", ["depth", "normals"], ["seg", "depth"])
    assert error.value.hint == "the network's outputs, in order: seg, depth"


@pytest.mark.parametrize("names", [["a", "a"], ["a", ""], ["a", " b"]])
def test_names_are_different_and_not_empty(names) -> None:
    with pytest.raises(UsageError, match="must be different and not empty"):
        choose_names("input", names, ["x", "y"])


def test_an_input_cannot_hide_where_the_stored_inputs_come_from() -> None:
    with pytest.raises(UsageError, match="no input can be called `source`"):
        choose_names("input", None, ["source"])
    assert choose_names("output", None, ["source"]) == ["source"]


def test_the_number_of_names_is_that_of_the_network() -> None:
    with pytest.raises(UsageError, match=r"1 input names given \(a\), the network has 2 inputs"):
        choose_names("input", ["a"], ["x", "y"])
