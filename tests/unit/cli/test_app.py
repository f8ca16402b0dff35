import inspect
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import compactmtl
from compactmtl.cli import app
from compactmtl.errors import CompactMTLError, DiskFullError, MissingExtraError, RefusedError

ROOT = Path(__file__).parents[3]


def all_errors(root=CompactMTLError):
    return [root, *(error for child in root.__subclasses__() for error in all_errors(child))]


def test_help_lists_every_verb_and_imports_no_torch(program):
    code = (
        "import sys; from compactmtl.cli.app import run; assert run(['--help']) == 0; "
        "heavy = {'torch', 'numpy', 'plotly', 'pydantic', 'onnx'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = program(code=code)
    assert done.returncode == 0, done.stderr
    for verb, summary in app.VERBS.items():
        assert f"  {verb} " in done.stdout
        assert summary[:40] in done.stdout


def test_help_of_no_verb_imports_torch(program):
    code = (
        "import sys; from compactmtl.cli.app import VERBS, run; "
        "assert all(run([verb, '--help']) == 0 for verb in VERBS); "
        "sys.exit('torch' in sys.modules)"
    )
    done = program(code=code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", app.VERBS)
def test_a_verb_is_short_and_its_summary_is_its_docstrings_first_line(verb):
    function = getattr(import_module(f"compactmtl.cli.{verb}"), verb)
    assert inspect.getdoc(function).splitlines()[0] == app.VERBS[verb]
    assert "Examples:" in inspect.getdoc(function)
    assert len(inspect.getsource(function).splitlines()) < 100


def test_examples_keep_their_line_breaks(capfd):
    assert app.run(["doctor", "--help"]) == 0
    assert "\n    compactmtl doctor\n    compactmtl doctor --json" in capfd.readouterr().out


def test_no_arguments_print_help(capfd):
    assert app.run([]) == 0
    assert "Commands:" in capfd.readouterr().out


def test_version(capfd):
    assert app.run(["--version"]) == 0
    assert capfd.readouterr().out == f"compactmtl {compactmtl.__version__}\n"


def test_unknown_verb_suggests_the_nearest(program):
    done = program("compres")
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first == "error: no verb called `compres`; did you mean `compress`?"
    assert second.startswith("hint: there are: train, ")


@pytest.mark.parametrize(
    "args", [["doctor", "--fast"], ["inspect"], ["--fast"], ["inspect", "a", "b"]]
)
def test_usage_errors_exit_2_in_one_line_with_a_hint(args, capfd):
    assert app.run(args) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "hint: see `compactmtl" in err
    assert len(err.splitlines()) == 2


def test_usage_error_in_json_mode_is_a_document(capfd):
    assert app.run(["doctor", "--fast", "--json"]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["type"] == "UsageError"
    assert error["exit_code"] == 2


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_becomes_one_line_and_its_exit_code(kind, verb, capfd):
    def fail():
        raise kind("what happened,\nwhere [bold]`x`[/bold]", hint="do this")

    verb(fail)
    assert app.run(["trial"]) == kind.exit_code
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "error: what happened, where [bold]`x`[/bold]\nhint: do this\n"


@pytest.mark.parametrize("args", [["--json", "trial"], ["trial", "--json"]])
def test_errors_in_json_mode_are_one_document(args, verb, capfd):
    def fail():
        raise DiskFullError("full", hint="free some")

    verb(fail)
    assert app.run(args) == 15
    out, err = capfd.readouterr()
    assert json.loads(out) == {
        "error": {
            "type": "DiskFullError",
            "message": "full",
            "hint": "free some",
            "exit_code": 15,
        }
    }
    assert "error: full" in err


def test_modes_do_not_leak_into_the_next_run(verb, capfd):
    verb(lambda: app.console.table("", ["a"], [["x"]]))
    assert app.run(["trial", "--json"]) == 0
    assert capfd.readouterr().out == ""
    assert app.run(["trial"]) == 0
    assert "x" in capfd.readouterr().out


@pytest.mark.parametrize("switch", ["flag", "variable"])
def test_debug_keeps_the_traceback_and_the_exit_code(switch, verb, capfd, monkeypatch):
    def fail():
        raise RefusedError("no")

    verb(fail)
    if switch == "variable":
        monkeypatch.setenv("COMPACTMTL_DEBUG", "1")
    assert app.run(["trial", *(["--debug"] if switch == "flag" else [])]) == 3
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: no\n")


def test_without_debug_there_is_no_traceback(verb, capfd):
    def fail():
        raise MissingExtraError("no wandb", hint="pip install it")

    verb(fail)
    assert app.run(["trial"]) == 4
    assert "Traceback" not in capfd.readouterr().err


def test_a_bug_keeps_its_traceback_and_exits_1(verb, capfd):
    verb(lambda: 1 / 0)
    assert app.run(["trial", "--json"]) == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["type"] == "ZeroDivisionError"
    assert "Traceback" in err
    assert "bug in compactmtl" in err


def test_eof_error_of_a_verb_is_not_taken_for_ctrl_c(verb, capfd):
    def fail():
        raise EOFError("short file")

    verb(fail)
    assert app.run(["trial"]) == 1
    assert "EOFError: short file" in capfd.readouterr().err


def test_ctrl_c_is_one_line_and_130(verb, capfd):
    def interrupt():
        raise KeyboardInterrupt

    verb(interrupt)
    assert app.run(["trial"]) == 130
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "error: interrupted\n"


def test_an_int_that_a_verb_returns_is_the_exit_code(verb):
    verb(lambda: 3)
    assert app.run(["trial"]) == 3


def test_a_reader_that_goes_away_ends_the_program_without_a_traceback():
    writer = (
        "import sys; from compactmtl.cli import app; from types import ModuleType\n"
        "def trial():\n"
        "    'Try.'\n"
        "    for _ in range(1000): sys.stdout.write('x' * 10_000)\n"
        "module = ModuleType('compactmtl.cli.trial'); module.trial = trial\n"
        "sys.modules['compactmtl.cli.trial'] = module; app.VERBS['trial'] = 'Try.'\n"
        "sys.argv = ['compactmtl', 'trial']; app.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", writer],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    process.stdout.read(10)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == app.BROKEN_PIPE
    assert error == b""
