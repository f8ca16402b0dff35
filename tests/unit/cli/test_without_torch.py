"""A runtime installation: the verbs it has work with what docker/runtime.txt lists, and no more."""

import json
import re
import tomllib
from pathlib import Path

import onnxruntime
import pytest
from one_convolution import write_exported

from compactmtl.cli import app

ROOT = Path(__file__).parents[3]
IMPORTED_AS = {"pillow": "PIL"}
CODE = """
import json, sys
for name in {absent!r}:
    sys.modules[name] = None  # an import of it raises ModuleNotFoundError
from compactmtl.cli.app import run
json.dump([run(command) for command in json.loads({commands!r})], open({out!r}, "w"))
"""


def names(lines):
    """Return the distributions that requirements name."""
    return {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}


def absent():
    """Return the modules of what the project depends on and the runtime image does not have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    lines = (ROOT / "docker/runtime.txt").read_text().splitlines()
    listed = names(line for line in lines if not line.startswith("#"))
    lacking = names([*project["dependencies"], *extras]) - listed
    assert {"torch", "torchvision", "onnxscript", "plotly", "openvino"} <= lacking
    return sorted(IMPORTED_AS.get(name, name.replace("-", "_")) for name in lacking)


@pytest.fixture
def run_all(program, tmp_path):
    """Run command lines one after the other without torch; return their exit codes and output."""

    def run(*commands):
        out = str(tmp_path / "codes.json")
        code = CODE.format(absent=absent(), commands=json.dumps(commands), out=out)
        done = program(code=code, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(Path(out).read_text()), done.stdout, done.stderr

    return run


def test_every_verb_of_the_runtime_runs(run_all, tmp_path):
    file = str(write_exported(tmp_path))
    commands = {
        "bench": ["bench", file, "--seconds", "0.1", "--rounds", "3", "--batch", "2"],
        "verify": ["verify", file],
        "inspect": ["inspect", file],
        "doctor": ["doctor"],
    }
    assert set(commands) == set(app.WITHOUT_TORCH)
    codes, out, err = run_all(*commands.values())
    assert codes == [0, 0, 0, 0], err
    assert f"onnxruntime {onnxruntime.__version__}" in out
    assert re.search(r"torch +no +not installed", out)


def test_every_other_verb_says_what_it_lacks(run_all, tmp_path):
    others = [verb for verb in app.VERBS if verb not in app.WITHOUT_TORCH]
    codes, _, err = run_all(*([verb, "x"] for verb in others))
    assert codes == [4] * len(others)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert errors == [
        f"error: `compactmtl {verb}` needs torch, which is not installed here" for verb in others
    ]


def test_a_file_that_takes_torch_says_so(run_all, tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"PK\x03\x04")
    codes, _, err = run_all(["inspect", "model.pt2"])
    assert codes == [4], err
    assert err.startswith("error: this use of `compactmtl inspect` needs ")


def test_help_marks_what_does_not_work(run_all):
    codes, out, _ = run_all(["--help"], ["compress", "--help"])
    assert codes == [0, 0]
    for verb in app.VERBS:
        line = next(line for line in out.splitlines() if line.startswith(f"  {verb} "))
        assert ("(needs torch)" in line) == (verb not in app.WITHOUT_TORCH)


def test_a_bug_is_still_shown_as_one(verb, capfd):
    def body():
        raise ModuleNotFoundError("no such module", name="nowhere")

    verb(body)
    assert app.run(["trial"]) == 1
    assert "this is a bug" in capfd.readouterr().err
