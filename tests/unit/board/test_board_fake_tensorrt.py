"""Control flow of the full TensorRT, which cannot be had here: a stand-in notes what is called.

It computes nothing. That the calls mean in TensorRT 10 and 11 what the documentation says was never
seen; the same calls build real engines in TensorRT-RTX.
"""

import sys
from types import SimpleNamespace

import pytest
from onnx import helper

from compactmtl.board.artefact import TIMING_CACHE, write_engine
from compactmtl.board.bindings import Bindings, installed_version, load_bindings
from compactmtl.board.build import build
from compactmtl.board.engine_gpu import why_not_fit
from compactmtl.board.errors import AskedError, BuildError, DamagedError, MissingPackageError
from compactmtl.board.nvml import Gpu
from compactmtl.board.onnx_file import read_onnx
from compactmtl.board.prepared import build_prepared, write_prepared
from compactmtl.board.recipe import BuildRecipe

PROFILE = {"image": ((1, 3, 16, 24),) * 3}


class Config:
    def __init__(self):
        self.flags, self.pools, self.profiles = [], {}, []
        self.hardware_compatibility_level = None

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool] = size

    def set_flag(self, flag):
        self.flags.append(flag)

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)

    def create_timing_cache(self, content):
        return SimpleNamespace(content=content, serialize=lambda: content + b"more")

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        if cache.content.startswith(b"foreign"):
            return False
        self.cache = cache
        return True


class StandIn:
    """What ``import tensorrt`` would give."""

    def __init__(self, version, tag=b"ftrt", fails=False):
        self.__version__, self.fails = version, fails
        self.plan = tag + bytes(20) + bytes([10, 3, 0, 26]) + b"plan"
        self.ILogger = object
        self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
        self.HardwareCompatibilityLevel = SimpleNamespace(AMPERE_PLUS="ampere+")
        flags = {"VERSION_COMPATIBLE": "VERSION_COMPATIBLE"}
        if int(version.split(".")[0]) < 11:  # as in 11, where precision flags are gone
            flags |= {"FP16": "FP16", "INT8": "INT8"}
        self.BuilderFlag = SimpleNamespace(**flags)

    def OnnxParser(self, network, logger):  # noqa: N802  # TensorRT's name
        return SimpleNamespace(parse_from_file=lambda path: True)

    def Builder(self, logger):  # noqa: N802  # TensorRT's name
        self.config = Config()
        self.shapes = {}

        def create_network(flags):
            self.network_flags = flags
            return SimpleNamespace(
                num_inputs=1, num_layers=7, get_input=lambda i: SimpleNamespace(name="image")
            )

        def build_serialized_network(network, config):
            if self.fails:
                logger.log(SimpleNamespace(name="INTERNAL_ERROR"), "no kernel\nfits")
            return None if self.fails else self.plan

        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=lambda: self.config,
            create_optimization_profile=lambda: SimpleNamespace(
                set_shape=lambda name, *shapes: self.shapes.update({name: shapes})
            ),
            build_serialized_network=build_serialized_network,
        )


@pytest.fixture(autouse=True)
def _own_logger(monkeypatch):
    """Each test a logger of its own: the process keeps the first one for good."""
    monkeypatch.setattr("compactmtl.board.logger._loggers", {})
    monkeypatch.setattr("compactmtl.board.logger._listeners", {})


@pytest.fixture
def fake():
    def make(version="10.3.0", **options):
        return Bindings(StandIn(version, **options), "tensorrt")

    return make


@pytest.mark.parametrize("version", ["10.3.0", "10.13.2", "11.4.1"])
def test_networks_are_strongly_typed_and_settings_reach_the_builder(fake, source, version):
    trt = fake(version)
    recipe = BuildRecipe(workspace_bytes=2**28, version_compatible=True, hardware_compatible=True)
    built = build(trt, read_onnx(source), recipe, PROFILE)
    config = trt.module.config
    assert trt.module.network_flags == 1 << 1
    assert config.pools == {"workspace": 2**28}
    assert config.flags == ["VERSION_COMPATIBLE"]
    assert config.hardware_compatibility_level == "ampere+"
    assert config.profiling_verbosity == "detailed"
    assert trt.module.shapes == PROFILE
    assert len(config.profiles) == 1
    assert built.plan == trt.module.plan
    assert built.flags == ("VERSION_COMPATIBLE", "AMPERE_PLUS")


def quantised(make_onnx, path):
    nodes = [helper.make_node("QuantizeLinear", ["image", "s"], ["y"], name="q")]
    return make_onnx(path, nodes)


def test_weak_typing_sets_the_flags_of_old(fake, source, make_onnx, tmp_path):
    trt = fake("10.3.0")
    built = build(trt, read_onnx(source), BuildRecipe(weak_typing="fp16"), PROFILE)
    assert (trt.module.network_flags, built.flags) == (0, ("FP16",))
    int8 = read_onnx(quantised(make_onnx, tmp_path / "q.onnx"))
    built = build(trt, int8, BuildRecipe(weak_typing="int8"), PROFILE)
    assert (trt.module.network_flags, built.flags) == (0, ("INT8", "FP16"))


def test_weak_typing_takes_only_the_graph_it_is_for(fake, source, make_onnx, tmp_path):
    with pytest.raises(AskedError, match=r"int8 needs an ONNX file with QDQ nodes"):
        build(fake(), read_onnx(source), BuildRecipe(weak_typing="int8"), PROFILE)
    int8 = read_onnx(quantised(make_onnx, tmp_path / "q.onnx"))
    with pytest.raises(AskedError, match=r"fp16 needs an ONNX file without QDQ nodes"):
        build(fake(), int8, BuildRecipe(weak_typing="fp16"), PROFILE)


@pytest.mark.parametrize("version", ["10.12.0", "11.4.1"])
def test_weak_typing_is_refused_where_strong_typing_is_complete(fake, source, version):
    with pytest.raises(AskedError, match=r"is for TensorRT before 10\.12, this is TensorRT 1"):
        build(fake(version), read_onnx(source), BuildRecipe(weak_typing="fp16"), PROFILE)


def test_timings_are_kept_for_the_next_build(fake, source):
    path = source.with_name("model.engine")
    cache = source.with_name(TIMING_CACHE)
    write_engine(fake(), source, path, BuildRecipe())
    assert cache.read_bytes() == b"more"
    write_engine(fake(), source, path, BuildRecipe())
    assert cache.read_bytes() == b"moremore"
    cache.write_bytes(b"foreign")  # of another GPU: TensorRT does not take it
    write_engine(fake(), source, path, BuildRecipe())
    assert cache.read_bytes() == b"more"


def test_tensorrt_builds_for_the_gpu_it_runs_on(fake, source, monkeypatch):
    orin, ada, turing = Gpu("Orin", "8.7"), Gpu("NVIDIA A", "8.9"), Gpu("NVIDIA C", "7.5")
    tensorrt = fake()
    path = source.with_name("model.engine")
    monkeypatch.setattr("compactmtl.board.artefact.find_gpus", lambda: (orin,))
    sidecar = write_engine(tensorrt, source, path, BuildRecipe())
    assert sidecar["build"]["compute_capabilities"] == ["8.7"]
    assert why_not_fit(path, [orin]) == ""
    assert "compute capability 8.7; the one on `board` has 8.9" in why_not_fit(
        path, [ada], where="on `board`"
    )
    write_engine(tensorrt, source, path, BuildRecipe(hardware_compatible=True))
    assert why_not_fit(path, [ada]) == ""
    assert "8.0 (Ampere) or later" in why_not_fit(path, [turing])
    for unknown in ((), (ada, turing)):  # nobody tells, or which of them built it
        monkeypatch.setattr("compactmtl.board.artefact.find_gpus", lambda found=unknown: found)
        sidecar = write_engine(tensorrt, source, path, BuildRecipe())
        assert sidecar["build"]["compute_capabilities"] == []
        assert why_not_fit(path, [turing]) == ""


def test_an_engine_of_another_flavour_is_never_written(fake, source):
    with pytest.raises(BuildError, match="built an engine of TensorRT-RTX"):
        write_engine(fake(tag=b"vtrt"), source, source.with_name("model.engine"), BuildRecipe())
    with pytest.raises(DamagedError, match="is no TensorRT engine"):
        write_engine(fake(tag=b"?"), source, source.with_name("model.engine"), BuildRecipe())
    assert not list(source.parent.glob("*.engine*"))


def test_the_reason_of_a_failed_build_is_in_the_log_alone(fake, source):
    with pytest.raises(BuildError, match=r"cannot build `model\.trt\.onnx`: no kernel fits$"):
        build(fake(fails=True), read_onnx(source), BuildRecipe(), PROFILE)


def test_what_is_prepared_is_what_the_board_builds(fake, source):
    recipe = BuildRecipe(batch=(1, 4, 16), version_compatible=True)
    write_prepared(source, source.with_name("model.engine"), recipe)
    trt = fake("11.4.1")
    ((path, sidecar),) = build_prepared(trt, source.with_name("tensorrt.json"))
    assert path == source.with_name("model.engine")
    assert path.read_bytes() == trt.module.plan
    assert trt.module.shapes["image"][2] == (16, 3, 16, 24)
    assert sidecar["verified"]["status"] == "built only"
    assert sidecar["build"]["flags"] == ["VERSION_COMPATIBLE"]


def test_another_onnx_file_than_the_prepared_one_is_refused(fake, source, make_conv):
    write_prepared(source, source.with_name("model.engine"), BuildRecipe())
    make_conv(source, shape=(1, 3, 16, 24))
    with pytest.raises(DamagedError, match="is not the file that"):
        list(build_prepared(fake(), source.with_name("tensorrt.json")))


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "{}",
        '{"format_version": 2, "engines": {}}',
        '{"format_version": 1, "engines": []}',
        '{"format_version": 1, "engines": {"model.engine": {}}}',
        '{"format_version": 1, "engines": {"model.engine": 5}}',
        '{"format_version": 1, "engines": {"../m": {"onnx": "m", "sha256": "", "recipe": {}}}}',
        '{"format_version": 1, "engines": {"m": {"onnx": "/m", "sha256": "", "recipe": {}}}}',
        '{"format_version": 1, "engines": {"m": {"onnx": "m", "sha256": "", "recipe": {"a": 1}}}}',
    ],
)
def test_a_damaged_tensorrt_json_is_refused_in_one_line(fake, tmp_path, document):
    (tmp_path / "tensorrt.json").write_text(document)
    with pytest.raises(DamagedError, match=r"tensorrt\.json"):
        list(build_prepared(fake(), tmp_path / "tensorrt.json"))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Put a module `tensorrt` where Python finds it, for one test."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # noted, so that it is undone
    del sys.modules["tensorrt"]
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "tensorrt.py"


def test_versions_before_10_are_refused(installed):
    installed.write_text("__version__ = '8.6.1'\n")
    assert installed_version("tensorrt") == "8.6.1"
    with pytest.raises(MissingPackageError, match=r"TensorRT 8\.6\.1 is too old, expected 10\.0"):
        load_bindings("tensorrt")


def test_libraries_that_do_not_load_get_a_hint(installed):
    installed.write_text("raise ImportError('libnvinfer.so.10: no such file')\n")
    with pytest.raises(MissingPackageError, match=r"does not load: libnvinfer\.so\.10") as error:
        load_bindings("tensorrt")
    assert "python3-libnvinfer" in error.value.hint


def test_without_any_tensorrt_the_hint_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for flavour, words in (("tensorrt", "python3-libnvinfer"), ("rtx", "compactmtl[rtx]")):
        assert installed_version(flavour) is None
        with pytest.raises(MissingPackageError, match="is not installed") as error:
            load_bindings(flavour)
        assert words in error.value.hint
    with pytest.raises(AskedError, match="no flavour"):
        load_bindings("trt")
