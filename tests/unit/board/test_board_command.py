"""``python -m compactmtl.board``, alone: as a board has it, without the rest of compactmtl."""

import ast
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compactmtl.board.command import main
from compactmtl.board.header import read_header

BOARD = Path(__file__).parents[3] / "compactmtl" / "board"
ALONE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        allowed = sys.stdlib_module_names | {"compactmtl", "numpy", "tensorrt_rtx",
            "tensorrt_rtx_bindings", "tensorrt_rtx_libs"}
        if top not in allowed or name.startswith("compactmtl.") and ".board" not in name:
            raise ImportError(f"a board has no {name}")
sys.meta_path.insert(0, Nothing())
from compactmtl.board.command import main
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def _own_handlers(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def test_python_3_10_reads_every_file():
    for path in sorted(BOARD.rglob("*.py")):
        ast.parse(path.read_text(), feature_version=(3, 10))


def test_a_board_that_has_nothing_else_builds_an_engine(source, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    package = tmp_path / "site" / "compactmtl"
    package.mkdir(parents=True)
    shutil.copytree(BOARD, package / "board")
    shutil.copy(BOARD.parent / "__init__.py", package)
    command = [sys.executable, "-c", ALONE, "build", source.name, "--flavour", "rtx", "--json"]
    done = subprocess.run(
        [*command, "--batch", "1:4:16", "--compute-capability", "8.9"],
        cwd=source.parent,
        env={"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (sidecar,) = json.loads(done.stdout)["artefacts"]
    assert sidecar["build"]["profile"]["image"][2] == [16, 3, 16, 24]
    assert "built by TensorRT-RTX" in done.stderr
    assert read_header(source.with_name("model.rtx.engine")).flavour == "rtx"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.onnx", "--flavour", "rtx"], 10, "no such file"),
        (["model.trt.onnx", "--flavour", "rtx", "--batch", "x"], 2, "no range of batch sizes"),
        (["model.trt.onnx", "--flavour", "rtx", "--weak-typing", "fp16"], 2, "weak_typing"),
        (["model.trt.onnx", "--compute-capability", "8.9"], 2, "takes no `compute_capabilities`"),
        (["tensorrt.json", "--batch", "4"], 2, "says how its engines are built"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(source, capsys, monkeypatch, arguments, code, words):
    monkeypatch.chdir(source.parent)
    before = sorted(source.parent.iterdir())
    assert main(["build", *arguments]) == code
    error, *hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert words in error
    assert all(line.startswith("hint: ") for line in hint)
    assert sorted(source.parent.iterdir()) == before


def test_a_kill_in_the_middle_leaves_nothing(source):
    pytest.importorskip("tensorrt_rtx")
    before = sorted(source.parent.iterdir())
    slow = (
        "import time, compactmtl.board.artefact as a\n"
        "def plan(*_):\n    print('building', flush=True)\n    time.sleep(60)\n"
        "a.build = plan\nimport sys\nfrom compactmtl.board.command import main\nsys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "build", str(source), "--flavour", "rtx"],
        env={"PYTHONPATH": str(BOARD.parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "building\n"
    time.sleep(0.05)
    process.terminate()
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, "error: interrupted\n")
    assert sorted(source.parent.iterdir()) == before
