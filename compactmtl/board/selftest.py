"""Which of our assumptions hold on this board: build, verify, time and measure a small network.

What is assumed was read in documents and in others' output; a board is the judge of it.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compactmtl.board import selftest_network as bundled
from compactmtl.board.artefact import engine_path, write_engine
from compactmtl.board.bench.statistics import summarise
from compactmtl.board.bench.timing import back_to_back, interleave
from compactmtl.board.bindings import load_bindings
from compactmtl.board.doctor import examine
from compactmtl.board.errors import BoardError
from compactmtl.board.files import write_together
from compactmtl.board.jetson.describe import describe
from compactmtl.board.jetson.watch import watching
from compactmtl.board.recipe import BuildRecipe
from compactmtl.board.sessions import Session, open_session

Holds = Literal["yes", "no", "unknown"]
Say = Callable[[str], None]
SECONDS = 2.0
ROUNDS = 20


@dataclass(frozen=True)
class Assumption:
    """One thing we take for granted, and whether it is so here."""

    what: str
    holds: Holds
    detail: str


@dataclass
class _Ready:
    """One precision, as far as it came.

    Attributes:
        built: What TensorRT said of the build; empty where it succeeded.
        session: What runs: the engine, or the ONNX file where there is no engine; None for neither.
        why: Why nothing runs.
        error: Largest deviation over largest magnitude; None where nothing ran.
    """

    built: str
    session: Session | None = None
    why: str = ""
    error: float | None = None


def selftest(folder: Path, say: Say, *, seconds: float = SECONDS) -> dict[str, Any]:
    """Run the test in a folder, which gets its files.

    Args:
        folder: An empty folder.
        say: Told what is done, line by line.
        seconds: Time of each of its measurements.

    Raises:
        UnwritableError: The folder cannot be written.
    """
    found = examine(folder)
    ready = {}
    for precision in bundled.PRECISIONS:
        say(f"{precision}: build and run")
        ready[precision] = _prepare(folder / f"selftest.{precision}.onnx", precision)
    running = {name: each.session for name, each in ready.items() if each.session is not None}
    latency: dict[str, Any] = {}
    measured: dict[str, Any] = {}
    if running:
        say(f"time {', '.join(running)}, and measure power")
        latency, measured = _measure(running, seconds)
    assumptions = [*_of_board(found, measured), *_of_runs(ready, found)]
    return {
        "board": found,
        "runs": {name: _run_document(each) for name, each in ready.items()},
        "latency_ms": latency,
        "jetson": measured,
        "assumptions": [asdict(each) for each in assumptions],
    }


def _prepare(source: Path, precision: str) -> _Ready:
    write_together({source: bundled.network(precision)})
    path, built = source, ""
    try:
        engine = engine_path(source, "tensorrt")
        write_engine(load_bindings("tensorrt"), source, engine, BuildRecipe())
        path = engine
    except BoardError as error:
        built = error.message
    ready = _Ready(built)
    try:
        ready.session = open_session(path)
        got = ready.session({bundled.INPUT: bundled.image()})[bundled.OUTPUT]
    except BoardError as error:
        ready.session, ready.why = None, error.message
        return ready
    want = bundled.expected(bundled.image())
    ready.error = float(np.abs(got.astype(np.float64) - want).max() / np.abs(want).max())
    return ready


def _measure(running: dict[str, Session], seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    calls = {
        name: session.bind({bundled.INPUT: bundled.image()}) for name, session in running.items()
    }
    with watching() as watch:
        watch.idle(lambda _: time.sleep(seconds))
        with watch.window("timing"):
            timings = interleave(calls, seconds=seconds, rounds=ROUNDS)
        for name, call in calls.items():
            with watch.window("alone", name) as ran:
                back_to_back(call, seconds=seconds, ran=ran, name=name)
    latency = {name: asdict(summarise(timing.wall_ms)) for name, timing in timings.items()}
    return latency, describe(watch.recording)


def _run_document(ready: _Ready) -> dict[str, Any]:
    return {
        "built": ready.built or "yes",
        "runtime": ready.session.runtime if ready.session else None,
        "why": ready.why,
        "error": ready.error,
    }


def _of_board(found: dict[str, Any], measured: dict[str, Any]) -> list[Assumption]:
    board, stats = found["board"], measured.get("tegrastats", {})
    installed, shipped = found["packages"]["tensorrt"], board["jetpack_tensorrt"]
    words = stats.get("unknown_words", [])
    energies = measured.get("energy")
    total = [e["module_rail"] for e in _values(energies) if "module_rail" in e]
    clocks = [name for name, clock in found["clocks"].items() if clock["locked"] is not None]
    return [
        _known("the module is in our table", board["module"], board["model"]),
        _known("the release is in our table", board["jetpack"], board["l4t"]),
        Assumption(
            "JetPack's TensorRT is the one installed",
            "unknown" if not (installed and shipped) else _yes(_starts(installed, shipped)),
            f"installed {installed or 'none'}, expected {shipped or 'unknown'}",
        ),
        Assumption("a GPU answers the driver", _yes(found["gpus"] > 0), f"{found['gpus']}"),
        Assumption(
            "nvpmodel names the power mode without root",
            _yes(found["power_mode"]["name"] is not None),
            found["power_mode"]["name"] or found["power_mode"]["why"],
        ),
        Assumption("sysfs tells the GPU's clocks", _yes("gpu" in clocks), ", ".join(clocks)),
        Assumption(
            "over-current events are counted",
            _yes(found["over_current"] is not None),
            ", ".join(found["over_current"] or ()),
        ),
        Assumption(
            "every word of tegrastats is known",
            "unknown" if not stats.get("readings") else _yes(not words),
            stats.get("why") or (", ".join(words) if words else f"{stats.get('readings')} lines"),
        ),
        Assumption(
            "power can be read, by rail",
            _yes(isinstance(measured.get("power"), dict)),
            ", ".join(_keys(measured.get("power"))),
        ),
        Assumption(
            "one rail is the whole module",
            "yes" if total else "unknown",
            total[0] if total else "no rail is known to be; sums are only sums",
        ),
        _load_shows(energies),
    ]  # fmt: skip


def _of_runs(ready: dict[str, _Ready], found: dict[str, Any]) -> list[Assumption]:
    assumptions = []
    for precision, each in ready.items():
        assumptions.append(
            Assumption(
                f"TensorRT builds {precision} from the graph, strongly typed",
                _yes(not each.built) if found["packages"]["tensorrt"] else "unknown",
                each.built or "built",
            )
        )
        runtime = each.session.runtime if each.session else each.why
        bound = bundled.TOLERANCES[precision]
        assumptions.append(
            Assumption(
                f"{precision} computes what numpy computes",
                "unknown" if each.error is None else _yes(each.error <= bound),
                runtime
                if each.error is None
                else f"{runtime}: relative error {each.error:.1e}, at most {bound:.0e}",
            )
        )
    return assumptions


def _load_shows(energies: Any) -> Assumption:
    above = [
        value for each in _values(energies) for value in (each.get("mj_above_idle") or {}).values()
    ]
    return Assumption(
        "a rail rises when the network runs",
        "unknown" if not above else _yes(max(above) > 0),
        f"largest rise {max(above):.3g} mJ per inference" if above else "no energy",
    )


def _known(what: str, value: str | None, otherwise: str | None) -> Assumption:
    return Assumption(what, _yes(value is not None), value or f"it says: {otherwise or 'nothing'}")


def _starts(version: str, numbers: str) -> bool:
    return f"{version}.".startswith(f"{numbers}.")


def _yes(holds: bool) -> Holds:
    return "yes" if holds else "no"


def _values(document: Any) -> list[dict[str, Any]]:
    return list(document.values()) if isinstance(document, dict) else []


def _keys(document: Any) -> list[str]:
    return list(document) if isinstance(document, dict) else []
