"""Names become parts: ours from a registry, the user's by import, all others an error."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compactmtl.errors import PartError
from compactmtl.parts import call_part, find_part, import_part, is_foreign, nearest

REGISTRY = {"segnet": dict, "segnet_s": list, "deeplab": tuple}


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text(
        "import collections\n\ndef build(tasks):\n    return tasks\n\nclass Outer:\n"
        "    class Inner:\n        pass\n\nNUMBER = 3\n"
    )
    (tmp_path / "my_broken.py").write_text("import not_installed_anywhere\n")
    (tmp_path / "my_failing.py").write_text("raise RuntimeError('own bug')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("my_parts", "my_broken", "my_failing"):
        sys.modules.pop(name, None)


def test_nearest_suggests_and_otherwise_is_silent():
    assert nearest("segnett", REGISTRY) == "; did you mean `segnet`?"
    assert nearest("xyz", REGISTRY) == ""
    assert nearest("segnet", []) == ""


@given(name=st.sampled_from(sorted(REGISTRY)))
def test_known_name_is_its_own_nearest(name):
    assert name in nearest(name, REGISTRY)
    assert find_part(name, REGISTRY, "network") is REGISTRY[name]


def test_colon_makes_a_name_foreign():
    assert is_foreign("package.module:Name")
    assert not is_foreign("segnet")


def test_unknown_name_lists_all_and_suggests_one():
    with pytest.raises(
        PartError, match="no network called `segnt`; did you mean `segnet`"
    ) as caught:
        find_part("segnt", REGISTRY, "network")
    assert caught.value.hint.startswith("there are: deeplab, segnet, segnet_s")


def test_own_part_is_found_in_the_working_folder(own_module):
    assert find_part("my_parts:build", REGISTRY, "network")({"seg": 1}) == {"seg": 1}
    assert import_part("my_parts:Outer.Inner").__qualname__ == "Outer.Inner"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_part:build", "cannot import `my_part`"),
        ("my_parts:biuld", "did you mean `build`"),
        ("my_parts:Outer.Iner", "did you mean `Inner`"),
        ("my_parts:NUMBER", "is a int, expected a class or function"),
        ("my_broken:build", "not_installed_anywhere"),
    ],
)
def test_own_part_that_is_not_there(own_module, name, message):
    with pytest.raises(PartError, match=message):
        find_part(name, REGISTRY, "network")


def test_bug_in_own_module_is_not_hidden(own_module):
    with pytest.raises(PartError, match=r"RuntimeError: own bug \(.*my_failing\.py:1\)") as caught:
        import_part("my_failing:build")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_part_that_fails_is_named_with_the_place(own_module):
    def fails() -> None:
        raise KeyError("nothing")

    with pytest.raises(PartError, match=r"`mine:fails` failed: KeyError: 'nothing' \(.*test_parts"):
        call_part("mine:fails", fails)
    with pytest.raises(KeyError):  # a part of ours that fails is a bug of ours
        call_part("fails", fails)
    assert call_part("mine:max", max, 1, 2) == 2


@pytest.mark.parametrize("name", [":build", "my_parts:", "a b:c", "..x:y", "my_parts:build:x"])
def test_malformed_name_is_a_part_error(own_module, name):
    with pytest.raises(PartError):
        import_part(name)
