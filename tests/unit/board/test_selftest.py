"""The self-test's control flow where TensorRT is there: a fake builds, ONNX Runtime runs."""

import pytest

from compactmtl.board import selftest as module
from compactmtl.board.errors import BuildError, RunError
from compactmtl.board.sessions import open_session


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the test with a builder and a way to open engines; return what holds, and the runs."""
    monkeypatch.setattr("compactmtl.board.doctor.installed_version", lambda flavour: "10.3.0")
    monkeypatch.setattr(module, "load_bindings", lambda flavour: None)
    monkeypatch.setattr("compactmtl.board.jetson.watch.IDLE_SECONDS", 0.0)

    def selftest(build, open_engine=lambda path: open_session(path)):
        def choose(path):
            return open_engine(path) if path.suffix == ".engine" else open_session(path)

        monkeypatch.setattr(module, "write_engine", build)
        monkeypatch.setattr(module, "open_session", choose)
        found = module.selftest(tmp_path, lambda line: None, seconds=0.01)
        return {each["what"]: each["holds"] for each in found["assumptions"]}, found["runs"]

    return selftest


def test_engines_that_are_built_are_run(run):
    holds, runs = run(
        lambda bindings, source, path, recipe: path.write_bytes(source.read_bytes()),
        lambda path: open_session(path.rename(path.with_suffix(".copy.onnx"))),
    )
    for precision in ("fp32", "fp16", "int8"):
        assert holds[f"TensorRT builds {precision} from the graph, strongly typed"] == "yes"
        assert holds[f"{precision} computes what numpy computes"] == "yes"
        assert runs[precision]["built"] == "yes"


def test_what_the_builder_refuses_is_said_and_the_file_is_run_instead(run):
    def refuse(bindings, source, path, recipe):
        raise BuildError("strong typing is not there")

    holds, runs = run(refuse)
    assert holds["TensorRT builds fp16 from the graph, strongly typed"] == "no"
    assert runs["fp16"]["built"] == "strong typing is not there"
    assert holds["fp16 computes what numpy computes"] == "yes"


def test_an_engine_that_does_not_run_leaves_the_rest_unknown(run):
    def fail(path):
        raise RunError("no kernel image")

    holds, runs = run(lambda bindings, source, path, recipe: path.write_bytes(b"engine"), fail)
    assert holds["fp32 computes what numpy computes"] == "unknown"
    assert runs["fp32"]["why"] == "no kernel image"
    assert holds["a rail rises when the network runs"] == "unknown"


def test_wrong_numbers_are_seen(run, monkeypatch):
    image = module.bundled.image()
    monkeypatch.setattr(module.bundled, "image", lambda: image)
    monkeypatch.setattr(module.bundled, "expected", lambda values: image[:, :1] * 100.0)

    def refuse(bindings, source, path, recipe):
        raise BuildError("not there")

    assert run(refuse)[0]["fp32 computes what numpy computes"] == "no"
