"""Calibration: what is measured, the fit, and the verb; times themselves are never asserted."""

import json
import random
from itertools import islice

import numpy as np
import onnx
import pytest

from compactmtl.bench import calibrate as module
from compactmtl.bench import machines
from compactmtl.bench.calibrate import calibrate, draw, make_table
from compactmtl.bench.chains import Chain, Convolution
from compactmtl.bench.fit import fit, left_out_errors
from compactmtl.board.bench.blocks import find_blocks
from compactmtl.board.bench.chains import chains_bytes, model, prepare, read_chains
from compactmtl.board.errors import DamagedError
from compactmtl.cli.app import run
from compactmtl.compiler.kernels import TERMS, kernel
from compactmtl.compiler.table import CostTable, default_table
from compactmtl.environment import environment
from compactmtl.errors import UsageError


def test_fit_finds_the_rates_that_made_the_times():
    generator = np.random.default_rng(0)
    amounts = generator.lognormal(sigma=3, size=(200, 12))
    rates = generator.lognormal(sigma=2, size=12) * (np.arange(12) % 3 > 0)
    found = fit(amounts, amounts @ rates)
    np.testing.assert_allclose(found, rates, rtol=1e-6, atol=1e-9)


def test_fit_gives_no_negative_rate_and_is_the_best_of_these():
    generator = np.random.default_rng(1)
    amounts = generator.lognormal(size=(60, 3))
    times = np.abs(amounts @ np.array([1.0, -0.3, 0.5])) + 0.1
    rates = fit(amounts, times)
    assert (rates >= 0).all()

    def loss(candidate):
        return (((amounts @ candidate) / times - 1) ** 2).sum()

    for _ in range(300):
        near = np.maximum(rates + generator.normal(scale=0.05, size=3), 0)
        assert loss(near) >= loss(rates) - 1e-9


def test_errors_are_of_measurements_the_fit_did_not_see():
    generator = np.random.default_rng(2)
    noise = generator.lognormal(size=40)
    amounts = np.eye(40)  # each is predicted by itself alone
    assert (left_out_errors(amounts, noise) == 1.0).all()
    np.testing.assert_allclose(amounts @ fit(amounts, noise), noise)


def test_a_planted_machine_is_recovered():
    """Times that follow a table exactly give that table back."""
    table = default_table()
    chains = list(islice(draw(random.Random(0), align=4, block=16), 600))
    times = np.array([4000 + table.time(chain.work(align=4, block=16)) for chain in chains])
    found = make_table(chains, times, threads=1, align=4, block=16, described=environment())
    assert found.accuracy.p90 < 0.01
    for chain in islice(draw(random.Random(9), align=4, block=16), 200):
        layer = chain.layer
        assert found.conv(layer) == pytest.approx(table.conv(layer), rel=0.05)


def test_shapes_reach_every_kernel_and_no_chain_is_too_large():
    chains = list(islice(draw(random.Random(0), align=4, block=16), 600))
    seen = {kernel(layer, align=4, block=16) for chain in chains for layer in chain.layers()}
    assert seen == set(TERMS) - {"to blocked", "to plain", "gather", "addition"}
    assert any(chain.gathered for chain in chains)
    assert any(chain.added for chain in chains)


def test_work_of_a_chain_counts_the_changes_of_layout_that_happen():
    def changes(*args, **kwargs):
        total = Chain(*args, **kwargs).work(align=4, block=16)
        return {name: amount for (name, term), amount in total.items() if term == "calls"}

    blocked = changes(Convolution(32, 32, 3, 1, 8), 4)
    assert (blocked["to blocked"], blocked["to plain"]) == (1, 1)
    mixed = changes(Convolution(33, 32, 3, 1, 8), 4)  # blocked, plain, blocked, plain
    assert (mixed["to blocked"], mixed["to plain"]) == (2, 2)
    assert "to blocked" not in changes(Convolution(33, 33, 3, 1, 8), 4)
    gathered = changes(Convolution(64, 64, 1, 1, 8), 3, gathered=32)
    assert (gathered["to blocked"], gathered["to plain"], gathered["gather"]) == (3, 3, 2)


def test_chains_run_here():
    align, block = find_blocks()
    assert (align, block) == (1, 1) or block in (4, 8, 16, 32)
    for chain in islice(draw(random.Random(3), align=align, block=block), 12):
        prepare(chain.to_board(), threads=1)()


def test_chains_are_intact_onnx_and_survive_their_journey(tmp_path):
    chains = [c.to_board() for c in islice(draw(random.Random(3), align=4, block=16), 40)]
    for chain in chains:
        onnx.checker.check_model(onnx.load_from_string(model(chain)), full_check=True)
    (tmp_path / "c.json").write_bytes(chains_bytes(chains))
    assert read_chains(tmp_path / "c.json") == chains


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"chains": 1}',
        '{"chains": [{"added": 0, "layers": []}]}',
        '{"chains": [{"added": 0, "layers": [[1, 0, 1, 1, 1]]}]}',
    ],
)
def test_what_is_no_chain_is_refused(text, tmp_path):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(DamagedError, match="holds no chains"):
        read_chains(tmp_path / "c.json")


@pytest.mark.slow
def test_a_board_is_measured_there(board, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "QUICK_CHAINS", 40)
    monkeypatch.setattr(module, "ROUNDS", 1)
    file = tmp_path / "t.json"
    assert run(["calibrate", "--quick", "--host", "board", "-o", str(file), "--json"]) == 0
    table = CostTable.load(file)
    assert table.accuracy.num == 40
    assert table.runtime.startswith("onnxruntime ")
    assert "torch" not in table.environment["packages"]  # the board's own words


def test_no_threads():
    with pytest.raises(UsageError, match="threads"):
        calibrate(threads=0)


def test_the_verb_writes_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "QUICK_CHAINS", 40)
    monkeypatch.setattr(module, "ROUNDS", 1)
    file = tmp_path / "t.json"
    assert run(["calibrate", "--quick", "-o", str(file), "--json"]) == 0
    assert CostTable.load(file).model_dump(mode="json") == json.loads(capsys.readouterr().out)


def test_an_interrupted_calibration_leaves_nothing(tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(machines, "time_chains", stop)
    assert run(["calibrate", "-o", str(tmp_path / "t.json")]) == 130
    assert list(tmp_path.iterdir()) == []
