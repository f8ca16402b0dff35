"""Which board this is, from files as boards have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_jetson import KINDS, make_root, put_program, put_programs, write

from compactmtl.board.jetson.clocks import all_locked, read_clocks
from compactmtl.board.jetson.detect import detect, why_not
from compactmtl.board.jetson.modules import CHIPS, MODULES
from compactmtl.board.jetson.power_mode import parse_power_mode, read_power_mode
from compactmtl.board.jetson.releases import (
    RELEASES,
    find_release,
    parse_package_version,
    parse_tegra_release,
)

KNOWN = {
    "orin-nano": ("Jetson Orin Nano 8GB (developer kit)", "8.7", "36.4.4", "6.2.1", "10.3"),
    "agx-orin": ("Jetson AGX Orin 64GB", "8.7", "39.2.0", "7.2", "10"),
    "thor": ("Jetson AGX Thor (T5000)", "11.0", "38.2.0", "7.0", "10.13"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_board_is_known_by_its_files(kind, tmp_path):
    found = detect(make_root(tmp_path, kind))
    release = found.release
    assert found.is_jetson
    assert KNOWN[kind] == (
        found.module, found.chip.compute_capability, found.l4t, release.jetpack, release.tensorrt
    )  # fmt: skip
    assert found.model == KINDS[kind].model  # without the NUL that ends it
    assert set(found.probes.values()) == {"is there"}


def test_the_module_counts_not_its_carrier(tmp_path):
    make_root(tmp_path)  # whose first word names carrier p3768 and module p3767
    assert detect(tmp_path).part == "p3767-0005"


def test_no_jetson_says_what_was_asked(tmp_path):
    found = detect(tmp_path)
    assert not found.is_jetson
    assert why_not(found) == (
        "/proc/device-tree/model is missing, /proc/device-tree/compatible is missing, "
        "/etc/nv_tegra_release is missing"
    )
    write(tmp_path / ".dockerenv", "")
    assert "this is a container" in why_not(detect(tmp_path))


def test_another_board_with_a_device_tree_is_no_jetson(tmp_path):
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 4 Model B\0")
    write(tmp_path / "proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0")
    assert not detect(tmp_path).is_jetson


def test_each_file_alone_tells_a_jetson(tmp_path):
    make_root(tmp_path / "all")
    for name in ("proc/device-tree/model", "proc/device-tree/compatible", "etc/nv_tegra_release"):
        root = tmp_path / name.rpartition("/")[2]
        write(root / name, (tmp_path / "all" / name).read_text())
        assert detect(root).is_jetson, name


def test_the_package_is_asked_where_the_file_is_missing(tmp_path, monkeypatch):
    put_program(tmp_path, "dpkg-query", "echo 36.4.7-20250918154033")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = detect()  # this machine, whatever it is, has no such file
    if found.probes["/etc/nv_tegra_release"] == "is missing":
        assert (found.l4t, found.release.jetpack) == ("36.4.7", "6.2.1")


def test_a_module_that_is_not_in_the_table_is_not_guessed(tmp_path):
    make_root(tmp_path)
    write(tmp_path / "proc/device-tree/compatible", "nvidia,p9999-0000\0nvidia,tegra234\0")
    found = detect(tmp_path)
    assert (found.part, found.module, found.chip.name) == (None, None, "tegra234")


def test_releases_by_hand():
    line = "# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64, DATE: x"
    assert parse_tegra_release(line) == "36.4.4"
    assert parse_package_version("39.2.0-20260601141651") == "39.2.0"
    assert find_release("36.5.0").jetpack == "6.2.2"
    assert find_release("36.4.9") is None  # not guessed from its neighbours
    assert find_release("40.1") is None


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.l4t)
def test_every_release_is_found_by_its_own_numbers_and_by_a_later_point(release):
    assert find_release(release.l4t) == release
    assert find_release(f"{release.l4t}.99") == release


@given(st.text(max_size=80))
def test_any_text_is_a_release_or_none(text):
    for parse in (parse_tegra_release, parse_package_version):
        l4t = parse(text)
        assert l4t is None or l4t.replace(".", "").isdecimal()
    assert bool(parse_power_mode(text).why) is (parse_power_mode(text).name is None)


def test_tables_hold_together():
    assert all(chip.name == name for name, chip in CHIPS.items())
    assert all(name.startswith("Jetson ") for name in MODULES.values())


@pytest.mark.parametrize(
    ("text", "name", "number"),
    [
        ("NV Power Mode: MAXN\n0\n", "MAXN", 0),
        (
            "NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W_6CORE\n2\n",
            "MODE_15W_6CORE",
            2,
        ),
        ("NV Fan Mode:quiet\nNV Power Mode: 25W", "25W", None),
        ("NVPM ERROR: open failed\n", None, None),
    ],
)
def test_power_modes(text, name, number):
    found = parse_power_mode(text)
    assert (found.name, found.number, bool(found.why)) == (name, number, name is None)


def test_a_power_mode_that_cannot_be_read_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_power_mode().why == "nvpmodel is not here"
    put_program(tmp_path, "nvpmodel", "exit 3")
    assert read_power_mode().why == "nvpmodel failed with exit code 3"
    put_programs(tmp_path, "thor")
    assert read_power_mode().name == "MAXN"


@pytest.mark.parametrize(("locked", "all_of_them"), [(False, False), (True, None)])
def test_clocks(locked, all_of_them, tmp_path):
    clocks = read_clocks(make_root(tmp_path, locked=locked))
    assert set(clocks) == {"gpu", "emc", "cpu0"}
    assert clocks["gpu"].locked is locked
    assert clocks["cpu0"].max_mhz == 1728
    assert clocks["emc"].locked is None  # needs root, and is not there
    assert all_locked(clocks) is all_of_them


def test_clocks_that_root_can_read(tmp_path):
    root = make_root(tmp_path, locked=True)
    emc = root / "sys/kernel/debug/bpmp/debug/clk/emc"
    for name, value in {"rate": 3199, "min_rate": 204, "max_rate": 3199}.items():
        write(emc / name, f"{value}000000")
    assert all_locked(read_clocks(root)) is False
    write(emc / "mrq_rate_locked", "1\n")
    assert all_locked(read_clocks(root)) is True
    assert all_locked({}) is None
