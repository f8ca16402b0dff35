"""What pyproject.toml says is shipped is what lies in the folders, and nothing else is."""

import fnmatch
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
LINKS = {"compactmtl/cli": "cli", "compactmtl/models": "models"}


def files(ending: str = "") -> set[str]:
    """Return shipped paths, as in the wheel; links are followed."""
    package = ROOT / "compactmtl"
    folders = [package, *(ROOT / real for real in LINKS.values())]
    names = {
        package: "compactmtl",
        ROOT / "cli": "compactmtl/cli",
        ROOT / "models": "compactmtl/models",
    }
    return {
        f"{names[folder]}/{path.relative_to(folder).as_posix()}"
        for folder in folders
        for path in folder.rglob(f"*{ending}")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not any(path.is_relative_to(ROOT / link) for link in LINKS)
    }


def folder_of(file: str) -> str:
    return file.rpartition("/")[0].replace("/", ".")


def test_listed_packages_are_the_folders():
    assert sorted(SETTINGS["packages"]) == sorted({folder_of(file) for file in files()})


def test_every_package_has_an_init():
    assert {file.replace(".", "/") + "/__init__.py" for file in SETTINGS["packages"]} <= files(
        ".py"
    )


def test_every_data_file_is_listed():
    patterns = SETTINGS["package-data"]
    forgotten = [
        file
        for file in files()
        if not file.endswith(".py")
        and not any(
            fnmatch.fnmatch(file.rpartition("/")[2], pattern)
            for pattern in patterns.get(folder_of(file), [])
        )
    ]
    assert forgotten == []


@pytest.mark.parametrize("link", LINKS)
def test_link_leads_to_the_top_level_folder(link):
    assert (ROOT / link).resolve() == ROOT / LINKS[link]
    assert SETTINGS["package-dir"][link.replace("/", ".")] == LINKS[link]


@pytest.mark.parametrize("name", ["cli", "models"])
def test_second_copy_of_a_package_cannot_be_imported(name):
    code = [sys.executable, "-c", f"import {name}"]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"import compactmtl.{name}, not {name}" in done.stderr


def build_tools_missing() -> str:
    if importlib.util.find_spec("build") is None or importlib.util.find_spec("setuptools") is None:
        return "needs build and setuptools (pip install -e '.[dev]')"
    return "" if int(version("setuptools").split(".")[0]) >= 77 else "needs setuptools >= 77"


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """Build sdist, and the wheel from it, of a copy without links' targets or caches."""
    if reason := build_tools_missing():
        pytest.skip(reason)
    copy = tmp_path_factory.mktemp("build") / "source"
    copy.mkdir()
    for name in ("compactmtl", "cli", "models"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(copy / "dist"),
        str(copy),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return copy / "dist"


def test_wheel_holds_compactmtl_and_nothing_else(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    shipped = [name for name in names if ".dist-info/" not in name]
    assert len(shipped) == len(set(shipped))
    assert set(shipped) == files()
    assert {name.partition("/")[0] for name in names} == {
        "compactmtl",
        f"{wheel.name[:16]}.dist-info",
    }


def test_sdist_holds_no_link(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]


def test_installed_wheel_works_without_the_source(dist, tmp_path):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:  # what pip does with a pure wheel
        archive.extractall(tmp_path / "site")
    code = "import compactmtl.cli.app, compactmtl.models; print(compactmtl.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)
