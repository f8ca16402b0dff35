"""Nobody is told what is measured here."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("onnxruntime")


def written(home, code: str, **variables: str) -> list[str]:
    """Run code with an empty home folder; return the files that appear in it."""
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")} | variables
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


def test_onnx_runtime_leaves_no_identifier_behind(tmp_path):
    code = "from compactmtl.board.onnx_session import import_onnxruntime as f; f()"
    assert written(tmp_path / "ours", code) == []


def test_the_check_sees_what_onnx_runtime_leaves_when_it_may(tmp_path):
    left = written(tmp_path / "plain", "import onnxruntime", ORT_DISABLE_TELEMETRY="0")
    if not left:  # it keeps quiet by itself: an old release, or a machine where it sends nothing
        pytest.skip("this ONNX Runtime leaves nothing behind: the check sees nothing")
    assert all("onnxruntime" in name.lower() for name in left)


def test_who_wants_it_can_have_it():
    code = "import os, compactmtl; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in (({"ORT_DISABLE_TELEMETRY": "0"}, "0"), ({}, "1")):
        environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment | given, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert done.stdout.strip() == expected
