import pytest
from torch import nn

from compactmtl.errors import PatternError, UsageError
from compactmtl.patterns import declared_patterns, matching_layers

CONV = (nn.Conv2d, nn.Linear)


def network() -> nn.Module:
    stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
    return nn.ModuleDict({"encoder": stage, "head": nn.Linear(4, 2)})


def test_star_crosses_dots_and_only_the_wanted_types_match():
    assert list(matching_layers(network(), "enc*", CONV)) == ["encoder.0", "encoder.2"]
    assert list(matching_layers(network(), "*", CONV)) == ["encoder.0", "encoder.2", "head"]


def test_layers_come_in_the_networks_order_and_once():
    found = matching_layers(network(), ("head", "encoder.*", "*.0"), CONV)
    assert list(found) == ["encoder.0", "encoder.2", "head"]


def test_case_matters():
    with pytest.raises(PatternError):
        matching_layers(network(), "Encoder.*", CONV)


def test_no_pattern_gives_no_layer():
    assert matching_layers(network(), (), CONV) == {}


def test_a_module_with_two_names_is_found_once_by_either():
    shared = nn.Linear(2, 2)
    net = nn.ModuleDict({"first": shared, "second": shared})
    assert list(matching_layers(net, "second", CONV)) == ["second"]
    assert list(matching_layers(net, "*", CONV)) == ["first"]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("encodr.0", "did you mean `encoder.0`"),
        ("encoder", "write `encoder.*`"),
        ("zzz", "the 3 layers are: encoder.0, encoder.2, head"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_that_helps(pattern, text):
    with pytest.raises(PatternError) as caught:
        matching_layers(network(), ("head", pattern), CONV)
    assert f"`{pattern}`" in caught.value.message
    assert text in caught.value.message + caught.value.hint


def test_declared_patterns_come_from_the_network_unless_given():
    net = network()
    net.encoder_layers = ("encoder.*",)
    assert declared_patterns(net, None, "encoder_layers", "layers") == ("encoder.*",)
    assert declared_patterns(net, "head", "encoder_layers", "layers") == ("head",)
    assert declared_patterns(net, (), "encoder_layers", "layers") == ()


def test_nothing_declared_and_nothing_given_is_an_error():
    with pytest.raises(UsageError, match="has no `head_reads`, and `reads` was not given"):
        declared_patterns(network(), None, "head_reads", "reads")


def test_an_exclamation_mark_leaves_layers_out_wherever_it_stands():
    for patterns in (("*", "!encoder.0"), ("!encoder.0", "*")):
        assert list(matching_layers(network(), patterns, CONV)) == ["encoder.2", "head"]


@pytest.mark.parametrize("patterns", ["!head", ("!head", "!encoder.0")])
def test_only_leaving_out_is_no_choice(patterns):
    with pytest.raises(PatternError, match="only leave layers out"):
        matching_layers(network(), patterns, CONV)


def test_what_is_left_out_must_be_there():
    with pytest.raises(PatternError, match="matches no"):
        matching_layers(network(), ("*", "!heads"), CONV)
