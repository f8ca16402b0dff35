import io
import json
from pathlib import Path

import pytest

from compactmtl.cli import console as module
from compactmtl.cli.console import Console


@pytest.fixture
def console():
    return Console()


def test_json_mode_puts_one_document_and_nothing_else_on_stdout(console, capfd):
    console.configure(json=True)
    console.info("news")
    console.warn("careful")
    console.table("t", ["a"], [[1]])
    with console.progress("step", 3) as advance:
        advance()
    console.result({"path": Path("x/y"), "nan": float("nan"), "list": (1, 2.5), "none": None})
    out, err = capfd.readouterr()
    assert json.loads(out) == {"path": "x/y", "nan": None, "list": [1, 2.5], "none": None}
    assert "news" in err
    assert "careful" in err


def test_without_json_mode_a_result_prints_nothing(console, capfd):
    console.result({"a": 1})
    assert capfd.readouterr().out == ""


def test_quiet_keeps_warnings_errors_and_tables(console, capfd):
    console.configure(quiet=True)
    console.info("news")
    console.warn("careful")
    console.error("broken")
    console.table("", ["a"], [["cell"]])
    out, err = capfd.readouterr()
    assert "cell" in out
    assert "news" not in err
    assert "careful" in err
    assert "broken" in err


def test_markup_in_text_is_text(console, capfd):
    console.table("", ["[a]"], [["[red]x[/red]"]])
    console.info("[bold]y")
    out, err = capfd.readouterr()
    assert "[a]" in out
    assert "[red]x[/red]" in out
    assert "[bold]y" in err


def test_a_wide_table_is_not_folded_in_a_pipe(console, capfd, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    console.table("", ["path", "n"], [["p" * 300, 1_234_567]])
    out = capfd.readouterr().out
    assert "p" * 300 in out
    assert "1,234,567" in out


def test_a_table_is_folded_where_columns_says_a_width_and_nothing_is_cut(
    console, capfd, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "60")
    address = "github.com/" + "".join(f"part{i}/" for i in range(20))
    console.table("", ["name", "where"], [["a", address]])
    lines = capfd.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert "".join(line[6:].strip() for line in lines[1:]) == address


def test_the_title_of_a_narrow_table_stays_one_line(console, capfd):
    console.table("a title of [many] words, 60 columns", ["n"], [[1]])
    assert capfd.readouterr().out.splitlines()[0] == "a title of [many] words, 60 columns"


def test_configure_leaves_what_is_not_named(console):
    console.configure(json=True)
    console.configure(quiet=True)
    assert (console.json, console.quiet, console.debug) == (True, True, False)


def test_plain_progress_prints_now_and_then_with_the_time_left(console, capfd, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with console.progress("epoch", 12) as advance:
        for _ in range(12):
            advance(note="loss 0.5")
    lines = capfd.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 6
    assert lines[0].startswith("epoch 3/12, ")
    assert " left, " in lines[0]
    assert lines[0].endswith("loss 0.5")
    assert lines[-1].startswith("epoch 12/12")
    assert "left" not in lines[-1]


def test_fast_plain_progress_prints_nothing(console, capfd):
    with console.progress("epoch", 5) as advance:
        advance(5)
    assert capfd.readouterr().err == ""


def test_progress_on_a_terminal_nests_and_ends_on_error(console, monkeypatch):
    monkeypatch.setattr(console, "_err", module.RichConsole(force_terminal=True, stderr=True))

    def work():
        with console.progress("epoch", 2) as outer:
            with console.progress("[step]", 3) as inner:
                inner(note="[x]")
            outer()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert console._progress is None


def test_steps_are_named_as_they_start_and_counted_against_what_is_left(
    console, capfd, monkeypatch
):
    monkeypatch.setattr(module, "PLAIN_INTERVAL_S", 0.0)
    with console.steps("compress") as step:
        step("load", 2)
        step("capture", 3)
        step("verify", 2)
        step("write", 1)
    lines = [line.split(", ") for line in capfd.readouterr().err.splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [
        ("compress 0/2", "load"),
        ("compress 1/4", "capture"),
        ("compress 2/4", "verify"),
        ("compress 3/4", "write"),
    ]
    # Loading takes seconds and each of hundreds of widths none: a guess would be hours off.
    assert not any(part.endswith(" left") for line in lines for part in line)


@pytest.mark.parametrize(("equal", "left"), [(True, True), (False, False)])
def test_a_bar_guesses_the_time_left_only_of_equal_steps(console, monkeypatch, equal, left):
    drawn = io.StringIO()
    terminal = module.RichConsole(file=drawn, force_terminal=True, width=100)
    monkeypatch.setattr(console, "_err", terminal)
    with console.progress("epoch", 4, equal=equal) as advance:
        advance()
    assert ("left" in drawn.getvalue()) is left
