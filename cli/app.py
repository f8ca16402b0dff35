"""The program `compactmtl`: find the verb, run it, turn errors into one line and an exit code."""

import errno
import functools
import importlib
import importlib.util
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import compactmtl
from compactmtl.cli.console import console
from compactmtl.cli.options import Debug, Json, Quiet
from compactmtl.errors import CompactMTLError, MissingExtraError, UsageError
from compactmtl.files import write_error
from compactmtl.parts import nearest

VERBS: dict[str, str] = {
    "train": "Train a recipe into a new folder runs/<recipe>-<time>-<seed>/.",
    "recipes": "List the named recipes, or print one as TOML.",
    "data": "List the data sets that can be read, or check a folder before you train on it.",
    "runs": "List the run folders with their metrics and sparsity, the latest first.",
    "compress": "Compile a checkpoint into a compact model, exactly.",
    "export": "Write the compact model and its dense twin for a runtime.",
    "bench": "Measure the compact model against its dense twin.",
    "verify": "Run exported files on stored inputs and compare with stored outputs.",
    "evaluate": "Score models and exported files on labelled data, task by task.",
    "compare": "Train recipes with paired seeds; say what differs, and if it is more than noise.",
    "sweep": "Train over lambdas, task sets and seeds; compile and measure every model.",
    "reproduce": "Repeat a table of the papers: published values beside ours.",
    "whatif": "Say what group sparsity would gain on this machine, before you train.",
    "calibrate": "Measure what layers cost in this machine's ONNX Runtime.",
    "report": "Show it all in one HTML page.",
    "inspect": "Say what a model file is, layer by layer.",
    "doctor": "Say what this machine can train, export and bench.",
}
"""Verb to summary; verb `x` is the function `x` in `compactmtl/cli/x.py`."""

WITHOUT_TORCH = ("bench", "verify", "inspect", "doctor")
"""Verbs that a runtime installation has, which is one without torch, as in the runtime image."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT."""
NO_ROOM = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT)
"""What the system says where an output takes no more."""
BROKEN_PIPE = 141
"""Exit code when the reader of stdout went away: 128 + SIGPIPE."""

# The base class of what typer's parser raises; its own name moved between typer versions.
_ParseError: type[Exception] = typer.BadParameter.__mro__[1]

Thunk = Callable[[], Any]


def build(verb: str | None = None) -> typer.Typer:
    """Return the program with all verbs listed; only ``verb`` is imported.

    Calling it in typer's non-standalone mode returns the verb's call, not yet run, so that nothing
    a verb raises passes through the parser's own error handling.
    """
    app = typer.Typer(
        name="compactmtl",
        help="Train compact multi-task CNNs, compile them exactly, export and measure them.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_globals)
    for name, summary in VERBS.items():
        if name == verb:
            function = getattr(importlib.import_module(f"compactmtl.cli.{name}"), name)
            app.command(name, help=_help(function))(_deferred(function))
        else:
            mark = "" if _runs_here(name) else "(needs torch) "
            app.command(name, help=mark + summary)(_not_imported)
    return app


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    console.configure(
        json=False, quiet=False, debug=os.environ.get("COMPACTMTL_DEBUG", "0") not in ("", "0")
    )
    try:
        code = _attempt(list(args))
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except OSError as error:  # no room for what was printed, or for what a library writes
        full = write_error(Path(error.filename or "the output"), error)
        try:
            _fail(type(full).__name__, full.message, full.hint, full.exit_code)
            sys.stdout.flush()
        except OSError:  # it is stdout that has no room
            _drop_stdout()
        return full.exit_code
    return code


def _attempt(args: list[str]) -> int:
    """Run one command line; print what went wrong, but for an output that takes no more."""
    try:
        return _dispatch(args)
    except KeyboardInterrupt:
        return _fail("Interrupted", "interrupted", "", INTERRUPTED)
    except CompactMTLError as error:
        if console.debug:
            traceback.print_exception(error)
        return _fail(type(error).__name__, error.message, error.hint, error.exit_code)
    except Exception as error:  # a bug: shown in full, reported as data in --json mode
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        traceback.print_exception(error)
        hint = (
            "this is a bug in compactmtl, not in your input; please report it with the lines above"
        )
        return _fail(type(error).__name__, str(error) or type(error).__name__, hint, 1)


def _drop_stdout() -> None:
    """Give stdout somewhere to go: the interpreter flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the process's command line and exit; a polite kill cleans up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def _dispatch(args: list[str]) -> int:
    verb = next((arg for arg in args if not arg.startswith("-")), None)
    if "--json" in args:
        console.configure(json=True)  # an error of the parser itself is JSON too
    if verb is not None and verb not in VERBS:
        raise UsageError(
            f"no verb called `{verb}`{nearest(verb, VERBS)}", hint=f"there are: {', '.join(VERBS)}"
        )
    if verb is not None and not _runs_here(verb) and not {"-h", "--help"} & set(args):
        raise _lacking(f"`compactmtl {verb}`", "torch")
    app = build(verb)
    try:
        outcome = app(
            args if verb or args else ["--help"], prog_name="compactmtl", standalone_mode=False
        )
        if callable(outcome):
            outcome = outcome()
    except ModuleNotFoundError as error:
        if error.name is None or _has_torch():
            raise  # a bug, or an installation in pieces
        raise _lacking(f"this use of `compactmtl {verb}`", error.name) from error
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except _ParseError as error:
        message = error.format_message()  # type: ignore[attr-defined]
        place = f"compactmtl {verb}" if verb else "compactmtl"
        raise UsageError(message, hint=f"see `{place} --help`") from error
    return outcome if isinstance(outcome, int) else 0


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _runs_here(verb: str) -> bool:
    return verb in WITHOUT_TORCH or _has_torch()


def _lacking(what: str, module: str) -> MissingExtraError:
    return MissingExtraError(
        f"{what} needs {module.partition('.')[0]}, which is not installed here",
        hint=f"without torch there are: {', '.join(WITHOUT_TORCH)}; for the rest install "
        "compactmtl with what it depends on (pip install), or take the compress image",
    )


def _fail(kind: str, message: str, hint: str, exit_code: int) -> int:
    console.error(message, hint)
    console.result(
        {"error": {"type": kind, "message": message, "hint": hint, "exit_code": exit_code}}
    )
    return exit_code


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"compactmtl {compactmtl.__version__}\n")
        raise typer.Exit


def _globals(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Options that stand before or behind the verb."""


def _not_imported() -> None:
    """Stand in for a verb that this command line does not name."""


def _deferred(function: Callable[..., Any]) -> Callable[..., Thunk]:
    """Return ``function`` with its signature kept, which returns its call instead of making it."""

    @functools.wraps(function)
    def defer(*args: object, **kwargs: object) -> Thunk:
        return functools.partial(function, *args, **kwargs)

    return defer


def _help(function: Callable[..., Any]) -> str:
    """Return the docstring, with the line breaks of indented paragraphs (examples) kept."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{text}" if "\n  " in text or text[0] == " " else text for text in paragraphs
    )
