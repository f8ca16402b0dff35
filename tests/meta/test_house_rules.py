"""Rules of the house that no linter checks."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted(
    path
    for folder in ("compactmtl", "cli", "models", "tests", "benchmarks", "docker", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
TESTS = [path for path in CODE if path.name.startswith("test_")]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            p
            for f in ("docs", "benchmarks", "docker", "examples")
            for p in (ROOT / f).rglob("*.md")
        ),
    ]
)
NO_IDEA = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py", "manager.py"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def asserts(tree: ast.AST) -> bool:
    """Tell whether code can fail: an assert, or a call such as ``pytest.raises``."""
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Attribute) and node.attr in ("raises", "warns", "assert_close"))
        for node in ast.walk(tree)
    )


def test_no_file_is_longer_than_500_lines():
    lengths = {name(path): len(path.read_text().splitlines()) for path in CODE}
    assert {path: length for path, length in lengths.items() if length > 500} == {}


def test_no_file_is_a_drawer():
    assert [name(path) for path in CODE if path.name in NO_IDEA] == []


def test_every_test_file_asserts_something():
    assert len(TESTS) > 10
    assert [name(path) for path in TESTS if not asserts(ast.parse(path.read_text()))] == []


def test_a_test_file_without_assertion_would_be_seen():
    assert not asserts(ast.parse("def test_x():\n    print(1)"))


def test_test_files_have_unique_names():
    names = [path.name for path in TESTS]
    assert {n for n in names if names.count(n) > 1} == set()


@pytest.mark.parametrize("file", ["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_file_for_readers_is_there(file):
    assert (ROOT / file).stat().st_size > 500


def dead_links(page: Path, text: str) -> list[str]:
    """Return the files and folders that a Markdown page points to and that are not there."""
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    return [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_what_a_page_points_to_is_there(page):
    assert dead_links(page, page.read_text()) == []


def test_a_dead_link_would_be_seen():
    text = "[a](docs/lost.md) [b](README.md#measured) [c](https://x.org/y) [d](#here)"
    assert dead_links(ROOT / "README.md", text) == ["docs/lost.md"]
