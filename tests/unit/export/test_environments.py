"""The life of an environment, with a stand-in for pip: a real one takes gigabytes."""

import subprocess

import pytest

from compactmtl.errors import DiskFullError, ExportError, MissingExtraError
from compactmtl.export import environments
from compactmtl.export.environments import MARKER, Environment

TOOL = Environment(target="tool", packages=("tool==1.0", "torch==2.0"), gigabytes=0.1, minutes=1)


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Keep what would be run, and make the folder that ``venv`` makes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ran = []

    def run(command, **_):
        ran.append(command)
        TOOL.folder.mkdir(exist_ok=True)
        (TOOL.folder / "something").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environments.subprocess, "run", run)
    return ran


def test_it_lies_in_the_cache_folder_and_its_versions_are_its_name(commands, tmp_path, monkeypatch):
    folder = TOOL.folder
    assert folder.parent == tmp_path / "compactmtl" / "environments"
    assert folder.name.startswith("tool-tool-1.0-torch-2.0-py3")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert ".cache" in TOOL.folder.parts


def test_without_it_the_error_names_command_size_and_time(commands):
    with pytest.raises(MissingExtraError, match="target `tool` needs") as error:
        TOOL.require()
    assert error.value.hint == "compactmtl export --target tool --install (about 0.1 GB, 1 minutes)"


def test_it_is_installed_once(commands):
    assert TOOL.install()
    assert (TOOL.folder / MARKER).is_file()
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
    assert commands[1][-2:] == list(TOOL.packages)
    TOOL.require()
    assert not TOOL.install()
    assert len(commands) == 2


def test_an_installation_that_was_killed_is_thrown_away(commands):
    TOOL.folder.mkdir(parents=True)
    (TOOL.folder / "half").touch()
    with pytest.raises(MissingExtraError):
        TOOL.require()
    TOOL.install()
    assert not (TOOL.folder / "half").exists()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_nothing(commands, monkeypatch, failure):
    earlier = environments.subprocess.run

    def run(command, **rest):
        if "pip" in command:
            raise failure
        return earlier(command, **rest)

    monkeypatch.setattr(environments.subprocess, "run", run)
    with pytest.raises(failure):
        TOOL.install()
    assert list(TOOL.folder.parent.iterdir()) == []


def test_a_refusal_of_pip_is_one_line(commands, monkeypatch):
    said = "WARNING: x\nERROR: No matching distribution found for tool==1.0\n"

    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(environments.subprocess, "run", run)
    with pytest.raises(ExportError, match=r"environment: ERROR: No matching .* tool==1\.0$"):
        TOOL.install()


def test_too_little_space_is_said_before_anything_is_done(commands):
    huge = Environment(target="huge", packages=("a==1",), gigabytes=1e9, minutes=1)
    with pytest.raises(DiskFullError, match="takes about 1e"):
        huge.install()
    assert commands == []
