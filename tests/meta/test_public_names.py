"""Every public name resolves, whatever was imported before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import compactmtl

ROOT = Path(__file__).resolve().parents[2]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_all_lists_each_name_once():
    assert len(compactmtl.__all__) == len(set(compactmtl.__all__))
    assert "__version__" in compactmtl.__all__


@pytest.mark.parametrize(
    "first",
    ["", "import compactmtl.bench, compactmtl.export, compactmtl.report, compactmtl.compiler"],
    ids=["names-first", "rooms-first"],
)
def test_public_names_resolve_and_are_callable(first):
    code = f"""
import compactmtl as cm
{first}
names = [n for n in cm.__all__ if not n.startswith("__")]
print([n for n in names if not callable(getattr(cm, n))])
"""
    assert run(code).strip() == "[]"


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'compres'"):
        _ = compactmtl.compres
