"""A measurement that is watched: what goes under ``device``, into the recording, and is undone."""

import pytest
from simulated_jetson import make_root, put_program, put_programs

from compactmtl.board.bench.on_device import measure_on
from compactmtl.board.errors import AskedError, NotHereError
from compactmtl.board.jetson import watch as module
from compactmtl.board.jetson.describe import describe
from compactmtl.board.jetson.recording import read_recording


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A simulated board in this process."""
    monkeypatch.setenv(module.ROOT_VARIABLE, str(make_root(tmp_path / "root")))
    folder = tmp_path / "bin"
    put_programs(folder)
    put_program(folder, "jetson_clocks", f'echo "${{1:-lock}}" >> {folder}/calls')
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.1)
    return folder


def run(watch):
    with watch.window("alone", "model") as ran:
        ran()
        ran()
    return {"format_version": 2, "device": {}}


def test_what_was_seen_is_in_the_record_and_in_the_recording(programs, tmp_path):
    file = tmp_path / "seen.jsonl"
    document = measure_on("jetson", run, record_to=file)
    recording = read_recording(file)
    assert recording.document == document
    assert document["device"]["jetson"] == describe(recording)
    assert [(w.kind, w.name, w.runs) for w in recording.windows] == [
        ("idle", "", 0),
        ("alone", "model", 2),
    ]
    assert recording.over_current == ({"oc1": 0, "oc2": 0, "oc3": 0},) * 2
    assert not (programs / "calls").exists()  # clocks are left alone


def test_a_paced_run_reads_the_boards_own_temperature(programs, tmp_path, monkeypatch):
    zone = tmp_path / "root/sys/class/thermal/thermal_zone0/temp"
    zone.parent.mkdir(parents=True)
    zone.write_text("61500\n")

    def wait(watch):
        while not watch.recording.readings:
            pass
        assert watch.thermometer.read() == 49.312  # the hottest of tegrastats' line
        monkeypatch.setattr(module, "STALE_S", 0.0)  # it has fallen silent
        assert watch.thermometer.read() == 61.5
        zone.unlink()
        assert watch.thermometer.read() is None
        return {"format_version": 2, "device": {}}

    measure_on("jetson", wait)


def test_clocks_are_locked_before_they_are_read_and_restored_after(programs, tmp_path):
    root = tmp_path / "root/sys/class/devfreq/17000000.gpu/min_freq"
    put_program(
        programs,
        "jetson_clocks",
        f'echo "${{1:-lock}}" >> {programs}/calls; [ -n "$1" ] || echo 1020000000 > {root}',
    )
    document = measure_on("jetson", run, lock_clocks=True)
    assert (programs / "calls").read_text().split() == ["--store", "lock", "--restore"]
    assert document["device"]["jetson"]["clocks"]["gpu"]["locked"] is True


def test_a_failure_restores_clocks_and_writes_nothing(programs, tmp_path):
    def fail(watch):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure_on("jetson", fail, lock_clocks=True, record_to=tmp_path / "x")
    assert (programs / "calls").read_text().split() == ["--store", "lock", "--restore"]
    assert not (tmp_path / "x").exists()


def test_where_there_is_no_jetson_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.setenv(module.ROOT_VARIABLE, str(tmp_path))
    with pytest.raises(NotHereError, match="/etc/nv_tegra_release is missing"):
        measure_on("jetson", lambda watch: pytest.fail("it ran"))


def test_other_devices_are_not_watched():
    assert measure_on("cpu", lambda watch: {"watch": watch}) == {"watch": None}
    with pytest.raises(AskedError, match="not for `cpu`"):
        measure_on("cpu", run, lock_clocks=True)
