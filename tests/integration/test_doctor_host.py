"""`doctor --host` over a real ssh connection to a simulated board, its faults included."""

import json
import sys

import pytest
from simulated_jetson import put_program

from compactmtl.board import selftest_network
from compactmtl.cli import app


def run(capfd, *arguments, code=0):
    """Run a verb with --json; return its document, or what it said where it fails."""
    got = app.run([*arguments, "--json"])
    out, err = capfd.readouterr()
    assert got == code, err
    return json.loads(out) if code == 0 else err


def holding(document):
    return {each["what"]: each["holds"] for each in document["assumptions"]}


def test_a_board_says_what_it_is(jetson, capfd):
    found = run(capfd, "doctor", "--host", "board")
    assert found["board"]["module"] == "Jetson Orin Nano 8GB (developer kit)"
    assert (found["board"]["l4t"], found["board"]["jetpack"]) == ("36.4.4", "6.2.1")
    assert found["power_mode"] == {"name": "25W", "number": 1, "why": ""}
    assert found["clocks"]["gpu"]["max_mhz"] == 1020
    assert found["clocks_locked"] is False
    assert found["evidence"].startswith("simulated")
    assert found["space_mib"] > 0
    assert list(jetson.home.iterdir()) == []
    assert app.run(["doctor", "--host", "board"]) == 0
    assert "simulated: read from files and scripts" in capfd.readouterr().out


def test_a_machine_that_is_no_jetson_says_what_was_asked(board, capfd):
    found = run(capfd, "doctor", "--host", "board")
    finding = next(each for each in found["findings"] if each["what"] == "Jetson")
    assert not finding["ok"]
    assert "/etc/nv_tegra_release is missing" in finding["detail"]


@pytest.mark.slow
def test_the_self_test_says_which_assumptions_hold(jetson, capfd):
    found = run(capfd, "doctor", "--host", "board", "--selftest")
    holds = holding(found)
    for what in (
        "the module is in our table",
        "every word of tegrastats is known",
        "one rail is the whole module",
        *(f"{precision} computes what numpy computes" for precision in selftest_network.PRECISIONS),
    ):
        assert holds[what] == "yes", what
    assert holds["a GPU answers the driver"] == "no"
    assert holds["TensorRT builds fp32 from the graph, strongly typed"] == "unknown"
    assert found["latency_ms"]["fp32"]["n"] >= 20
    assert found["jetson"]["energy"]["int8"]["module_rail"] == "VDD_IN"
    assert found["jetson"]["simulated"] is True
    assert not list(jetson.home.glob("compactmtl*"))


@pytest.mark.slow
def test_without_tegrastats_power_is_unavailable(jetson, capfd):
    (jetson.programs / "tegrastats").unlink()
    found = run(capfd, "doctor", "--host", "board", "--selftest")
    assert found["jetson"]["power"] == "unavailable"
    assert holding(found)["power can be read, by rail"] == "no"
    assert holding(found)["every word of tegrastats is known"] == "unknown"


def test_a_board_without_numpy(jetson, capfd):
    put_program(jetson.programs, "python3", f'exec "{sys.executable}" -S "$@"')
    found = run(capfd, "doctor", "--host", "board")
    assert not next(each for each in found["findings"] if each["what"] == "numpy")["ok"]
    said = run(capfd, "doctor", "--host", "board", "--selftest", code=4)
    assert "on `board`: numpy is not installed" in said


def test_an_old_python_is_named(jetson, capfd):
    script = "import sys; sys.version_info = (3, 8, 10); import runpy; runpy.run_path(sys.argv[1])"
    put_program(jetson.programs, "python3", f'exec "{sys.executable}" -c "{script}" "$@"')
    said = run(capfd, "doctor", "--host", "board", code=2)
    assert "on `board`: Python 3.8 is too old, expected 3.10 or later" in said


def test_a_link_that_drops_is_one_line(jetson, capfd):
    jetson.link.drops_on = " doctor --json"
    said = run(capfd, "doctor", "--host", "board", code=2)
    assert "`board` does not answer" in said
    assert "Traceback" not in said


def test_an_answer_that_is_no_document_is_refused(jetson, capfd):
    put_program(jetson.programs, "python3", "echo hello")
    assert "expected a JSON document" in run(capfd, "doctor", "--host", "board", code=11)
