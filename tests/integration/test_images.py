"""The images of docker/, built and run for real: buildah, a debootstrap base, no daemon.

Takes ten to thirty minutes and 6 GB of disk. COMPACTMTL_IMAGES names a folder to keep bases and
layers in between runs. Jetson Linux is made up here by a file; no image was ever run on hardware.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
from one_convolution import write_exported

from compactmtl.board.files import sha256

pytestmark = pytest.mark.slow

BUILD = Path(__file__).parents[2] / "docker" / "build.py"
KEYRING = Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")
GOAL_BYTES = 350e6


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("docker_build", BUILD)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def builder(build, tmp_path_factory):
    if reason := build.why_not():
        pytest.skip(f"no image can be built here: {reason}")
    kept = os.environ.get("COMPACTMTL_IMAGES")
    made = build.Builder(Path(kept) if kept else tmp_path_factory.mktemp("images"))
    yield made
    if not kept:
        made.remove()


@pytest.fixture(scope="module")
def debian(build, builder):
    return builder.base(build.DEBIAN)


@pytest.fixture(scope="module")
def context(build, builder):
    return builder.context(("build", "runtime", "compress", "torch"), build.DEBIAN.python)


@pytest.fixture(scope="module")
def runtime(builder, debian, context):
    return builder.build("runtime", debian, context)


@pytest.fixture(scope="module")
def compress(builder, debian, context):
    return builder.build("compress", debian, context)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder that the image's user, who is nobody here, may write to."""
    folder = tmp_path_factory.mktemp("models")
    write_exported(folder)
    for path in (*folder.parents[:2], folder):
        path.chmod(0o777)
    return {"/models": folder}


def test_the_runtime_image_is_small_and_says_what_it_is(build, builder, runtime):
    sizes = build.measure(builder, runtime)
    assert sizes["size_bytes"] < GOAL_BYTES
    assert {"numpy", "onnx", "onnxruntime"} <= set(sizes["python_packages_bytes"])
    assert not {"torch", "pip", "setuptools"} & set(sizes["python_packages_bytes"])
    config = builder.config(runtime)
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Volumes"] == {"/models": {}}
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["Labels"]["compactmtl.l4t"] == ""
    health = builder.run(runtime, entrypoint=config["Healthcheck"]["Test"][1:])
    assert health.returncode == 0, health.stderr


def test_the_runtime_image_examines_checks_and_measures(builder, runtime, models):
    doctor = builder.run(runtime, "doctor", "--json")
    assert doctor.returncode == 0, doctor.stderr
    found = {each["what"]: each for each in json.loads(doctor.stdout)["findings"]}
    assert found["onnxruntime"]["ok"]
    assert not found["torch"]["ok"]
    for user in ("", "4711"):  # the image's own, and anybody
        verified = builder.run(runtime, "verify", "model.onnx", mounts=models, user=user)
        assert verified.returncode == 0, verified.stderr
    asked = ("bench", "model.onnx", "--batch", "2", "--seconds", "0.5", "--json")
    benched = builder.run(runtime, *asked, "--out", "bench.json", mounts=models)
    assert benched.returncode == 0, benched.stderr
    assert json.loads(benched.stdout)["candidates"]
    assert (models["/models"] / "bench.json").stat().st_uid == 10001
    assert builder.run(runtime, "inspect", "model.onnx", mounts=models).returncode == 0


def test_the_runtime_image_says_what_it_has_not(builder, runtime):
    refused = builder.run(runtime, "compress", "ckpt.pt")
    assert refused.returncode == 4
    assert "needs torch" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_compress_image_trains_and_compresses_for_the_runtime_image(
    builder, compress, runtime, models
):
    for asked in (
        ("train", "rooms-smoke", "--run-dir", "run"),
        ("compress", "run/ckpt.pt", "--prune-zero-channels"),
        ("export",),
        ("report",),
    ):
        done = builder.run(compress, *asked, mounts=models)
        assert done.returncode == 0, done.stderr
    folder = models["/models"] / "compact"
    assert (folder / "report.html").is_file()
    exported = sha256((folder / "model.onnx").read_bytes())
    verified = builder.run(runtime, "verify", "compact/model.onnx", mounts=models)
    assert verified.returncode == 0, verified.stderr
    benched = builder.run(runtime, "bench", "--seconds", "0.5", "--json", mounts=models)
    assert benched.returncode == 0, benched.stderr
    assert json.loads(benched.stdout)["candidates"]["compact"]["sha256"] == exported


@pytest.mark.parametrize("distribution", ["DEBIAN", "JAMMY"])
def test_the_board_image_starts_on_the_systems_python(
    build, builder, context, models, tmp_path, distribution
):
    """JAMMY is what JetPack 6 is made of: Python 3.10 and its numpy; TensorRT is not there."""
    base = getattr(build, distribution)
    keyring = None
    if base is build.JAMMY and not (builder.work / base.suite).exists():
        keyring = KEYRING
        if not KEYRING.is_file():
            pytest.skip("the keys of Ubuntu are not here (apt-get install ubuntu-keyring)")
    image = builder.build("board", builder.base(base, keyring), context, L4T="36.4-36.5")
    assert builder.config(image)["Labels"]["compactmtl.l4t"] == "36.4-36.5"
    version = builder.run(image, "--version", entrypoint=["python3"])
    assert version.stdout.startswith(f"Python {base.python}.")

    helped = builder.run(image, "--help")
    assert helped.returncode == 0, helped.stderr
    assert "verify" in helped.stdout
    assert "no NVIDIA driver in this container" in helped.stderr

    asked = builder.run(image, "build", "model.onnx", mounts=models)
    assert asked.returncode == 4
    assert "Traceback" not in asked.stderr
    asked = builder.run(image, "verify", "model.onnx", mounts=models)  # numpy is imported
    assert asked.returncode == 4
    assert "onnxruntime is not installed" in asked.stderr

    release = tmp_path / "nv_tegra_release"
    release.write_text("# R36 (release), REVISION: 3.0, GCID: 1, BOARD: generic\n")
    refused = builder.run(image, "--help", mounts={"/etc/nv_tegra_release": release})
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "this board runs Jetson Linux 36.3.0, this image is for 36.4-36.5" in refused.stderr
    release.write_text("# R36 (release), REVISION: 4.4, GCID: 1, BOARD: generic\n")
    assert builder.run(image, "--help", mounts={"/etc/nv_tegra_release": release}).returncode == 0


def test_a_file_written_into_the_root_would_be_seen(builder, runtime, tmp_path):
    tmp_path.chmod(0o777)
    code = "import pathlib; pathlib.Path('/models/left').write_text('x')"
    with pytest.raises(RuntimeError, match="wrote into its root"):
        builder.run(runtime, "-c", code, entrypoint=["python3"])
