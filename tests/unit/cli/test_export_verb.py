"""What `export` prints and which exit code it leaves; what it writes is tested with the targets."""

import json

import pytest

from compactmtl.board.recipe import BuildRecipe
from compactmtl.cli.app import run
from compactmtl.cli.export_options import make_options
from compactmtl.cli.export_table import say_prepared, show_artefacts
from compactmtl.errors import MissingFileError, UsageError
from compactmtl.export import TARGETS
from compactmtl.export.environments import Environment
from compactmtl.export.sidecar import Parent, Sidecar, Simplified, Verified, write_sidecar

NOTHING = {
    "opset": None,
    "simplify": False,
    "precision": "fp32",
    "calibration": None,
    "max_drop": None,
    "batch": None,
    "size": None,
    "workspace": None,
    "compute_capabilities": None,
    "version_compatible": False,
    "hardware_compatible": False,
    "host": None,
}


def sidecar(artefact, status, parent="model.pt2", **changes):
    verified = Verified(status=status, runtime="the runtime", per_task={}, cases=[])
    values = {"kind": "any", "which": "compact", "sha256": "0", "size_bytes": 5, "opset": None}
    values |= {"inputs": [], "outputs": [], "versions": {}, "build": {"command": "do it"}}
    return Sidecar(
        artefact=artefact,
        parent=Parent(file=parent, sha256="0"),
        verified=verified,
        **values | changes,
    )


def test_every_target_is_listed_with_what_it_can_do_here(capsys):
    assert run(["export", "--list"]) == 0
    table = capsys.readouterr().out
    assert run(["export", "--list", "--json"]) == 0
    targets = json.loads(capsys.readouterr().out)["targets"]
    assert [each["target"] for each in targets] == list(TARGETS)
    for each in targets:
        assert each["evidence"] in table
        assert each["version"] or "compactmtl[" in table
        assert each["runs_here"] or each["why_not"]


def test_options_are_read_as_their_help_shows():
    options = make_options(
        **NOTHING
        | {
            "batch": "1:4:16",
            "size": "384x640",
            "workspace": "512MiB",
            "compute_capabilities": ["8.9", "12.0"],
        }
    )
    assert options.batch == (1, 4, 16)
    assert options.size == ((384, 640),) * 3
    assert options.workspace_bytes == 2**29
    assert options.compute_capabilities == ("8.9", "12.0")
    assert make_options(**NOTHING).workspace_bytes == BuildRecipe().workspace_bytes


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("batch", "many"),
        ("batch", "4:1:16"),
        ("size", "384"),
        ("size", "0x640"),
        ("workspace", "lots"),
        ("compute_capabilities", ["sm_89"]),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(option, text):
    with pytest.raises(UsageError) as error:
        make_options(**NOTHING | {option: text})
    assert error.value.hint or "must not fall" in error.value.message


def test_an_operator_set_is_refused_before_anything_is_read(capsys):
    assert run(["export", "no_such_folder", "--opset", "5"]) == 2
    assert "opset (=5) must be one of 18 to 23" in capsys.readouterr().err


def test_an_option_of_another_target_is_refused_before_the_folder_is_read(capsys):
    assert run(["export", "nowhere", "--batch", "4"]) == 2
    assert "target `onnx` takes no `batch`" in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused_before_gigabytes_are_installed(
    tmp_path, monkeypatch, capsys
):
    installed = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Environment, "install", lambda self: installed.append(self.target))
    command = ["export", "--target", "litert", "--install"]
    assert run([*command, "elsewhere"]) == MissingFileError.exit_code
    assert "`elsewhere` holds no model.pt2" in capsys.readouterr().err
    assert not installed
    assert run(command) == 0
    assert installed == ["litert"]


def test_what_was_not_run_is_shown_with_what_was(tmp_path, capsys):
    write_sidecar(tmp_path / "model.trt.onnx", sidecar("model.trt.onnx", "ran"))
    built = sidecar("model.rtx.engine", "built only", "model.trt.onnx")
    show_artefacts([(tmp_path / "model.rtx.engine", built)], tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert ["model.trt.onnx" in lines[1], "ran: the runtime" in lines[1]] == [True, True]
    assert ["model.rtx.engine" in lines[2], "built only" in lines[2]] == [True, True]


def test_what_is_prepared_exits_3_and_says_what_to_type(tmp_path, capsys):
    ready = sidecar("tensorrt.json", "prepared", "model.trt.onnx")
    assert say_prepared([(tmp_path / "model.engine", ready)]) == 3
    message = " ".join(capsys.readouterr().err.split())
    assert "prepared, not built" in message
    assert "run there: do it" in message
    assert "model.trt.onnx.json and tensorrt.json" in message
    assert say_prepared([(tmp_path / "a", sidecar("a", "built only"))]) == 0


@pytest.mark.parametrize(("not_kept", "outcome"), [(None, "kept"), ("it is larger", "not kept")])
def test_what_simplifying_gained_is_said(tmp_path, capsys, not_kept, outcome):
    found = Simplified(tool="onnxsim 1", nodes=(9, 7), size_bytes=(90, 70), not_kept=not_kept)
    one = sidecar("model.onnx", "ran", simplified=found)
    show_artefacts([(tmp_path / "model.onnx", one)], tmp_path)
    text = " ".join("".join(capsys.readouterr()).split())
    assert f"onnxsim 1: 9 -> 7 nodes, 90 -> 70 bytes; {outcome}" in text
