import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.errors import ExportError
from compactmtl.export.precision.search import find_kept

TASKS = ("seg", "depth")


def errors_of(costs):
    """Return what a network does whose layers add up their errors."""

    def errors(keep):
        lowered = [costs[name] for name in costs if name not in keep]
        return {task: sum(cost[i] for cost in lowered) for i, task in enumerate(TASKS)}

    return errors


def search(costs, **budgets):
    errors = errors_of(costs)
    return find_kept(list(costs), errors=errors, growth=errors, budgets=budgets)


networks = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8).map(
    lambda costs: {f"layer{i}": cost for i, cost in enumerate(costs)}
)


def found_or_none(costs, budgets):
    try:
        return search(costs, **budgets)
    except ExportError:
        return None


@given(networks, st.floats(0, 4), st.floats(0, 4), st.floats(1, 3))
def test_a_smaller_budget_keeps_a_superset(costs, seg, depth, factor):
    strict = found_or_none(costs, {"seg": seg, "depth": depth})
    loose = found_or_none(costs, {"seg": seg * factor, "depth": depth * factor})
    if strict is not None:
        assert loose is not None
        assert set(loose.kept) <= set(strict.kept)


@given(networks, st.floats(0, 4))
def test_the_budget_is_honoured_with_the_fewest_layers_of_the_order(costs, limit):
    found = found_or_none(costs, {"seg": limit})
    if found is None:
        # Whatever single layer is left in lower precision is too much, in this order.
        assert min(cost[0] for cost in costs.values()) > limit
        return
    errors = errors_of(costs)
    assert errors(found.kept)["seg"] == found.growth["seg"] <= limit
    if found.kept:
        assert errors(found.kept[:-1])["seg"] > limit


def test_a_task_without_a_budget_has_no_say():
    costs = {"a": (0.1, 9.0), "b": (0.5, 0.0), "c": (0.2, 0.1)}
    assert search(costs, seg=0.35).kept == ("b",)
    assert search(costs, depth=0.3).kept == ("a",)
    assert set(search(costs, seg=0.35, depth=0.3).kept) == {"a", "b"}


def test_equal_layers_are_kept_in_the_order_of_the_network():
    costs = dict.fromkeys("cab", (0.25, 0.25))
    assert search(costs, seg=0.6).kept == ("c",)


def test_within_budget_nothing_is_ranked():
    calls = []
    found = find_kept(
        ["a", "b"],
        errors=lambda keep: calls.append(keep),
        growth=lambda keep: {"seg": 0.0},
        budgets={"seg": 0.0},
        progress=lambda done, total: calls.append((done, total)),
    )
    assert (found.kept, calls) == ((), [(1, 5)])


def test_what_cannot_be_reached_names_the_best():
    growth = {0: 0.5, 1: 0.2, 2: 0.3}
    with pytest.raises(
        ExportError, match=r"within seg 0\.1; the best reached is seg 0\.2, with 1 of 3 layers"
    ):
        find_kept(
            ["a", "b", "c"],
            errors=errors_of(dict.fromkeys("abc", (1.0, 1.0))),
            growth=lambda keep: {"seg": growth[len(keep)]},
            budgets={"seg": 0.1},
        )


def test_nan_is_not_within_a_budget():
    with pytest.raises(ExportError):
        find_kept(
            ["a", "b"],
            errors=errors_of({"a": (1.0, 1.0), "b": (1.0, 1.0)}),
            growth=lambda keep: {"seg": float("nan")},
            budgets={"seg": 1.0},
        )
