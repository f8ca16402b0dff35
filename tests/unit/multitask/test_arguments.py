"""Arguments checked against a signature."""

import pytest

from compactmtl.errors import RecipeError
from compactmtl.multitask.arguments import checked_arguments


def part(tasks, *, size, depth=3):
    return tasks, size, depth


def test_known_arguments_pass_unchanged():
    assert checked_arguments(part, {"size": 2}, what="part") == {"size": 2}


def test_the_librarys_own_argument_is_not_the_recipes():
    with pytest.raises(RecipeError, match="unknown argument `tasks`"):
        checked_arguments(part, {"tasks": 1, "size": 2}, what="part")


def test_nearest_name_and_all_names_are_given():
    with pytest.raises(
        RecipeError, match="part: unknown argument `dept`; did you mean `depth`"
    ) as e:
        checked_arguments(part, {"size": 1, "dept": 2}, what="part")
    assert e.value.hint == "arguments here: size, depth"


def test_missing_argument_is_named():
    with pytest.raises(RecipeError, match="argument `size` is missing"):
        checked_arguments(part, {}, what="part")


def test_part_that_takes_anything_gets_anything():
    assert checked_arguments(lambda tasks, **rest: rest, {"x": 1}, what="part") == {"x": 1}
