import pytest

from compactmtl.cli.console import console
from compactmtl.cli.export_lowered import show_lowered
from compactmtl.cli.export_precision import parse_drops
from compactmtl.errors import UsageError
from compactmtl.export.sidecar import (
    Budget,
    KeptLayer,
    Lowering,
    MetricChange,
    Parent,
    Samples,
    Sidecar,
    TaskParity,
    Verified,
)


def test_drops_are_read():
    assert parse_drops(["seg=0.01", "depth=1e-3"]) == {"seg": 0.01, "depth": 0.001}
    assert parse_drops([]) == {}


@pytest.mark.parametrize("text", ["seg", "seg=", "seg=much", "0.01"])
def test_what_is_no_drop_is_said(text):
    with pytest.raises(UsageError, match=r"expected TASK=X"):
        parse_drops([text])


def test_a_task_has_one_limit():
    with pytest.raises(UsageError, match="names `seg` twice"):
        parse_drops(["seg=0.1", "seg=0.2"])


def sidecar(**lowering):
    change = MetricChange(name="miou", higher_is_better=True, fp32=0.71, lower=0.7, change=-0.01)
    per_task = {
        "seg": TaskParity(max_rel_error=0.1, rel_rms=0.015, metric=change),
        "depth": TaskParity(max_rel_error=0.2, rel_rms=0.06),
    }
    return Sidecar(
        artefact="model.int8.onnx",
        kind="onnx",
        precision="int8",
        lowering=Lowering(method="int8", num_layers=30, **lowering),
        which="compact",
        sha256="0",
        size_bytes=2_500_000,
        parent=Parent(file="model.pt2", sha256="0"),
        opset=20,
        inputs=[],
        outputs=[],
        verified=Verified(status="ran", runtime="onnxruntime", per_task=per_task, cases=[]),
        versions={},
    )


def test_each_task_has_its_own_line_and_figures(tmp_path, capsys):
    console.configure(json=False, quiet=False, debug=False)  # whatever was run before
    shown = sidecar(
        calibration=Samples(source="validation images of rooms", num=8),
        scored_on=Samples(source="validation images of rooms", num=200),
        kept=[KeptLayer(name="encoder.first", costs={"seg": 0.4})],
        budgets={"seg": Budget(limit=0.01, measure="metric miou", reached=0.01)},
    )
    show_lowered({tmp_path / "model.int8.onnx": shown}, tmp_path)
    out, err = capsys.readouterr()
    _, seg, depth = out.splitlines()
    assert seg.split() == [
        *("model.int8.onnx", "2.50", "seg", "1.5e-02", "miou", "0.71", "0.7", "-0.0100"),
    ]
    assert depth.split()[2:] == ["depth", "6.0e-02", "-", "-", "-", "-"]
    assert (
        "calibrated on 8 validation images of rooms, which is few: --calibration names others"
        in err
    )
    assert "metrics on 200 validation images of rooms" in err
    assert "seg within 0.01 (metric miou): grew by 0.01" in err
    assert "1 of 30 layers in fp32: encoder.first" in err


def test_why_there_is_no_metric(tmp_path, capsys):
    show_lowered({tmp_path / "a.onnx": sidecar(not_scored="there are no labels")}, tmp_path)
    assert "a.onnx: no metric: there are no labels" in capsys.readouterr().err


def test_nothing_lowered_is_not_shown(tmp_path, capsys):
    show_lowered({}, tmp_path)
    assert capsys.readouterr().out == ""
