"""`bench --host` over a real ssh connection to a simulated Jetson, its faults included.

ONNX Runtime is the engine. No time is asserted.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from jetson_lines import ORIN_NANO
from simulated_jetson import make_root, put_program, put_programs

from compactmtl.board import selftest_network
from compactmtl.board.artefact import engine_path, write_engine
from compactmtl.board.bindings import load_bindings
from compactmtl.board.files import sha256
from compactmtl.board.recipe import BuildRecipe
from compactmtl.cli import app

SHORT = ("--seconds", "1", "--rounds", "20")


@pytest.fixture
def files(tmp_path):
    """Two artefacts of one name, in two folders."""
    made = []
    for precision in ("fp32", "fp16"):
        path = tmp_path / precision / "model.onnx"
        path.parent.mkdir()
        path.write_bytes(selftest_network.network(precision))
        made.append(path)
    return made


@pytest.fixture
def bench(files, tmp_path, capfd):
    """Run the verb on both files; return its record, or what it said where it fails."""

    def run(*options, code=0):
        out = tmp_path / "bench.json"
        words = ["bench", *map(str, files), "--host", "board", *SHORT, "--out", str(out), "--json"]
        got = app.run([*words, *options])
        printed = capfd.readouterr()
        assert got == code, printed.err
        assert out.is_file() is (code == 0)
        if code:
            assert "Traceback" not in printed.err
            return printed.err
        return json.loads(printed.out)

    return run


def test_the_record_comes_back_and_can_be_replayed(jetson, bench, files, tmp_path, capfd):
    recording = tmp_path / "seen.jsonl"
    record = bench("--device", "jetson", "--record-tegrastats", str(recording))
    names = ["fp32/model", "fp16/model"]
    assert list(record["candidates"]) == names
    assert [record["candidates"][name]["sha256"] for name in names] == [
        sha256(file.read_bytes()) for file in files
    ]
    assert record["candidates"]["fp32/model"]["macs"] > 10**7  # counted here
    assert "fp32/model/fp16/model" in record["ratios"]
    seen = record["device"]["jetson"]
    assert seen["board"]["module"].startswith("Jetson Orin Nano 8GB")
    assert seen["evidence"].startswith("simulated")
    assert seen["power_mode"]["name"] == "25W"
    assert seen["power"]["VDD_IN"]["peak_mw"] == 5251
    assert seen["clocks_mhz"]["EMC_FREQ"]["max"] == 204
    assert not list(jetson.home.glob("compactmtl*"))
    assert app.run(["bench", "--replay", str(recording), "--json"]) == 0
    again = json.loads(capfd.readouterr().out)
    assert again["device"] == record["device"]
    assert again["ratios"] == record["ratios"]
    for name in names:
        replayed, live = (each["candidates"][name]["latency_ms"] for each in (again, record))
        assert replayed == pytest.approx(live, abs=2e-3)  # times are kept to a microsecond


@pytest.mark.slow
def test_energy_is_that_of_the_module(jetson, bench):
    record = bench("--device", "jetson", "--seconds", "8")
    for each in record["device"]["jetson"]["energy"].values():
        assert each["module_rail"] == "VDD_IN"
        assert each["mj_per_inference"]["VDD_IN"] > each["mj_per_inference"]["VDD_SOC"] > 0
    assert app.run(["doctor", "--host", "board", "--quiet"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "module", "total"),
    [
        ("agx-orin", "Jetson AGX Orin 64GB", ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"]),
        ("thor", "Jetson AGX Thor (T5000)", ["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"]),
    ],
)
def test_other_boards_have_a_sum_that_is_called_one(kind, module, total, jetson, bench):
    make_root(jetson.root, kind)
    put_programs(jetson.programs, kind)
    seen = bench("--device", "jetson", "--seconds", "8")["device"]["jetson"]
    assert seen["board"]["module"] == module
    assert seen["tegrastats"]["unknown_words"] == []
    for each in seen["energy"].values():
        assert each["sum_of"] == total
        assert each["mj_sum"] > 0
        assert "module_rail" not in each


@pytest.mark.slow
def test_ctrl_c_here_stops_the_board_and_restores_its_clocks(jetson, files):
    calls = jetson.programs / "calls"
    calls.write_text("")
    put_program(jetson.programs, "jetson_clocks", f'echo "${{1:-lock}}" >> {calls}')
    options = ["--device", "jetson", "--host", "board", "--lock-clocks", "--seconds", "120"]
    child = subprocess.Popen(
        [sys.executable, "-m", "compactmtl", "bench", *map(str, files), *options],
        stderr=subprocess.PIPE,
        text=True,
    )

    def wait_for(word):
        for _ in range(1200):  # a busy machine takes its time
            if word in calls.read_text().split():
                return
            time.sleep(0.1)
        pytest.fail(f"jetson_clocks was not called with {word}")

    wait_for("lock")
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=300)
    assert child.returncode == 130, said
    wait_for("--restore")
    assert not list(jetson.home.glob("compactmtl*"))


@pytest.mark.slow
def test_without_tegrastats_power_is_unavailable(jetson, bench):
    (jetson.programs / "tegrastats").unlink()
    seen = bench("--device", "jetson")["device"]["jetson"]
    assert seen["power"] == seen["temperatures_c"] == "unavailable"
    assert "cannot be run" in seen["tegrastats"]["why"]
    assert all("cannot be run" in each["why"] for each in seen["energy"].values())
    assert seen["throttled"]["verdict"] == "unknown"


@pytest.mark.slow
def test_a_board_that_throttles_says_so(jetson, bench):
    cool = ORIN_NANO.replace("0%@[305]", "97%@[1020]")
    hot = ORIN_NANO.replace("0%@[305]", "97%@[612]").replace("tj@49.312C", "tj@95.5C")
    put_programs(jetson.programs, lines=[cool] * 45 + [hot])
    verdict = bench("--device", "jetson", "--seconds", "8")["device"]["jetson"]["throttled"]
    assert verdict["verdict"] == "yes"
    assert "from 1020 to 612 MHz" in verdict["why"]


def test_a_machine_that_is_no_jetson_says_what_was_asked(board, bench):
    said = bench("--device", "jetson", code=2)
    assert "on `board`: this is no Jetson: /proc/device-tree/model is missing" in said


def test_here_it_says_what_was_asked_too(capfd):
    assert app.run(["bench", "x.onnx", "--device", "jetson"]) == 2
    said = capfd.readouterr().err
    assert "this is no Jetson" in said
    assert "--host user@board" in said


@pytest.mark.slow
def test_a_link_that_drops_leaves_no_record(jetson, bench):
    jetson.link.drops_on = " bench bench-job.json"
    assert "`board` does not answer" in bench("--device", "jetson", code=2)


def lose_when(link, word):
    """Let the board be out of reach when it has printed a word; return the thread that waits."""

    def wait():
        for _ in range(2400):  # a busy machine takes its time
            if word in link.heard:
                break
            time.sleep(0.05)
        link.lose()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def running_in(home):
    """Return the command lines of processes that name a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if str(home) in line and "compactmtl." in line]


@pytest.mark.slow
def test_a_link_that_drops_while_it_runs_leaves_nothing_here_or_there(jetson, bench, tmp_path):
    calls = jetson.programs / "calls"
    put_program(jetson.programs, "jetson_clocks", f'echo "${{1:-lock}}" >> {calls}')
    recording = tmp_path / "seen.jsonl"
    before = set(tmp_path.iterdir())
    losing = lose_when(jetson.link, b"rounds: ")
    said = bench(
        *("--device", "jetson", "--lock-clocks", "--record-tegrastats", str(recording)),
        *("--seconds", "600"),
        code=2,
    )
    losing.join()
    error, hint = [line for line in said.splitlines() if line.startswith(("error", "hint"))]
    assert error.startswith("error: the link to `board` broke: ")
    assert "ends within minutes, by itself" in hint
    assert set(tmp_path.iterdir()) == before
    for _ in range(1200):
        if not list(jetson.home.glob("compactmtl*")):
            break
        time.sleep(0.1)
    assert calls.read_text().split() == ["--store", "lock", "--restore"]
    for _ in range(100):
        if not running_in(jetson.home):
            return
        time.sleep(0.1)
    pytest.fail(f"still runs on the board: {running_in(jetson.home)}")


@pytest.mark.slow
def test_an_engine_of_another_gpu_is_refused_on_the_board(jetson, files, capfd):
    pytest.importorskip("tensorrt_rtx", reason='pip install "compactmtl[rtx]"')
    path = engine_path(files[0], "rtx")
    recipe = BuildRecipe(compute_capabilities=("8.9",))
    write_engine(load_bindings("rtx"), files[0], path, recipe)
    assert app.run(["bench", str(path), "--host", "board", *SHORT]) == 2
    said = capfd.readouterr().err
    assert "error: on `board`: `model.rtx.engine` is for GPUs of compute capability 8.9" in said
    assert "the one here has 8.7 (Jetson Orin Nano" in said


PACED = ("--rate", "50", "--duration", "3s", "--deadline-ms")


@pytest.mark.slow
def test_a_paced_run_comes_back_and_misses_are_an_error(jetson, files, tmp_path, capfd):
    out = tmp_path / "bench.json"
    words = ["bench", str(files[0]), "--host", "board", "--device", "jetson", "--json"]
    words += ["--seconds", "0", "--rounds", "20", "--out", str(out)]
    words += ["--alongside", str(files[1])]
    assert app.run([*words, *PACED, "1e-6", "--max-misses", "149"]) == 1
    printed = capfd.readouterr()
    assert "`model` missed 150 of 150 frames, at most 149 accepted" in printed.err
    record = json.loads(printed.out)
    assert json.loads(out.read_text()) == record
    paced = record["paced"]
    assert (paced["verdict"], paced["max_misses"]) == ("missed", 149)
    assert paced["alongside"]["sha256"] == sha256(files[1].read_bytes())
    assert paced["alongside"]["num_calls"] > 0
    assert paced["thermometer"] == "hottest sensor of the Jetson"
    told = {window["temperature_c"] for window in paced["found"]["windows"]} - {None}
    assert told == {49.312}  # of tegrastats' line
    assert record["device"]["jetson"]["evidence"].startswith("simulated")
    assert not list(jetson.home.glob("compactmtl*"))


@pytest.mark.slow
def test_a_paced_run_of_several_files_or_on_time(board, files, capfd):
    pace = (*PACED, "1e6", "--max-misses", "0")
    words = ["--host", "board", "--seconds", "0", "--rounds", "20", "--json"]
    assert app.run(["bench", *map(str, files), *words, *pace]) == 2
    assert "a paced run takes one file" in capfd.readouterr().err
    assert app.run(["bench", str(files[0]), *words, *pace[:-2]]) == 0
    assert json.loads(capfd.readouterr().out)["paced"]["verdict"] == "ok"


def test_a_full_disk_is_said(jetson, bench):
    script = 'case "$*" in *-xf*) cat > /dev/null; echo "tar: No space left on device" >&2; exit 2'
    put_program(jetson.programs, "tar", f'{script};; esac; exec /usr/bin/tar "$@"')
    assert "`board` has no room for the files" in bench("--device", "jetson", code=15)


def test_a_file_that_changes_on_its_way_is_refused(jetson, bench):
    script = (
        '/usr/bin/tar "$@" && if [ -f "$4/1/model.onnx" ]; then echo x >> "$4/1/model.onnx"; fi'
    )
    put_program(jetson.programs, "tar", script)
    said = bench("--device", "jetson", code=11)
    assert "on `board`: `1/model.onnx` did not arrive as it was sent" in said


@pytest.mark.slow
def test_a_board_without_onnxruntime(jetson, bench):
    script = (
        "import importlib.util as u, runpy, sys; find = u.find_spec; "
        "u.find_spec = lambda name, *rest: None if name == 'onnxruntime' else find(name, *rest); "
        "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    put_program(jetson.programs, "python3", f'exec "{sys.executable}" -c "{script}" "$@"')
    assert "on `board`: onnxruntime is not installed" in bench(code=4)


@pytest.mark.slow
def test_clocks_are_locked_and_restored_on_the_board(jetson, bench):
    assert "--lock-clocks needs `jetson_clocks`" in bench(
        "--device", "jetson", "--lock-clocks", code=2
    )
    calls = jetson.programs / "calls"
    put_program(jetson.programs, "jetson_clocks", f'echo "${{1:-lock}}" >> {calls}')
    bench("--device", "jetson", "--lock-clocks")
    assert calls.read_text().split() == ["--store", "lock", "--restore"]


@pytest.mark.slow
def test_without_a_jetson_there_is_nothing_to_lock_or_record(board, bench):
    assert "add --device jetson" in bench("--lock-clocks", code=2)
