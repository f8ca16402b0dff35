"""Bad input through the command line: one line, its own exit code, earlier files as they were."""

import errno
import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import compactmtl
from compactmtl import files
from compactmtl.cli.app import run

TINY = [
    *("--set", "data.args.num_images=8", "--set", "data.args.num_eval_images=2"),
    *("--set", "model.args.widths=[4,6]"),
]
NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image):
        return {"seg": self.head(torch.relu(self.body(image)))}

class Overflows(Net):
    def forward(self, image):
        return {"seg": self.head((torch.relu(self.body(image)) + 1) * 1e25 * 1e25)}

def build():
    return Net()

def overflows():
    return Overflows()

def fails():
    raise KeyError("weights of last year")
"""


class RunsCode:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Iterator[Path]:
    """A folder with a finished run, `run/`, and what was compressed and exported, `compact/`."""
    root = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("COMPACTMTL_CACHE", str(root / "cache"))
        assert run(["train", "rooms-smoke", *TINY, "--run-dir", "run", "--quiet"]) == 0
        assert run(["compress", "run", "--prune-zero-channels", "--quiet"]) == 0
        assert run(["export", "--no-dense", "--quiet"]) == 0
    return root


@pytest.fixture
def here(good, tmp_path, monkeypatch) -> Path:
    """A copy of it as the working folder, with a network of the user's own."""
    for name in ("run", "compact"):
        shutil.copytree(good / name, tmp_path / name)
    (tmp_path / "ournet.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPACTMTL_CACHE", str(good / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "ournet", raising=False)
    return tmp_path


def everything(folder: Path) -> dict[str, str]:
    """Return path to fingerprint of every file, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def refused(here, capfd) -> Callable[..., dict[str, Any]]:
    """Run a command that must fail; return the error it reports as JSON."""

    def check(args: list[str], code: int, *words: str) -> dict[str, Any]:
        before = everything(here)
        capfd.readouterr()
        assert run([*args, "--json"]) == code
        output = capfd.readouterr()
        assert "Traceback" not in output.err
        lines = [line for line in output.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, output.err
        error: dict[str, Any] = json.loads(output.out)["error"]
        assert error["exit_code"] == code
        assert lines[0] == f"error: {' '.join(error['message'].split())}"
        for word in words:
            assert word in f"{error['message']} {error['hint']}"
        assert everything(here) == before
        return error

    return check


def flipped(content: bytes) -> bytes:
    """Flip a bit in the middle of the largest file of a zip archive; between files nobody looks."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.compress_size)
    sizes = content[entry.header_offset + 26 :][:4]
    start = entry.header_offset + 30 + sum(struct.unpack("<2H", sizes))
    damaged = bytearray(content)
    damaged[start + entry.compress_size // 2] ^= 4
    return bytes(damaged)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "empty": (lambda content: b"", 11),
    "one byte": (lambda content: content[:1], 11),
    "cut early": (lambda content: content[:100], 11),
    "cut in half": (lambda content: content[: len(content) // 2], 11),
    "last byte gone": (lambda content: content[:-1], 11),
    "flipped": (flipped, 11),
    "noise": (lambda content: np.random.default_rng(0).bytes(3000), 11),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint(here, refused, what):
    damage, code = DAMAGE[what]
    bad = here / "bad.pt"
    bad.write_bytes(damage((here / "run/ckpt.pt").read_bytes()))
    for command in (
        ["compress", "bad.pt", "-o", "new"],
        ["inspect", "bad.pt"],
        ["train", "rooms-smoke", *TINY, "--init", "bad.pt", "--run-dir", "new"],
    ):
        assert refused(command, code, "bad.pt")["hint"]
    shutil.copy(bad, here / "run/ckpt.pt")
    refused(["train", "--resume", "run"], code, "run/ckpt.pt")  # run.json still says finished


def test_a_missing_file(refused):
    for command in (
        ["compress", "none.pt"],
        ["inspect", "none.pt"],
        ["train", "--resume", "none"],
        ["train", "rooms-smoke", *TINY, "--init", "none.pt", "--run-dir", "new"],
        ["compress", "none.pt", "--model", "ournet:build", "--input", "image=1x3x16x16"],
        ["export", "none"],
        ["bench", "none"],
        ["report", "none"],
    ):
        refused(command, 10, "none")


@pytest.mark.parametrize("container", ["torch", "pickle"])
def test_a_file_that_runs_code(here, refused, container):
    proof, bad = here / "it-ran", here / "bad.pt"
    if container == "torch":
        torch.save({"model": torch.ones(1), "callback": RunsCode(proof)}, bad)
    else:
        bad.write_bytes(pickle.dumps(RunsCode(proof)))
    refused(["compress", "bad.pt"], 3, "bad.pt", "run")
    refused(["inspect", "bad.pt"], 3, "bad.pt", "if you trust it")
    foreign = ["--model", "ournet:build", "--input", "image=1x3x16x16"]
    refused(["compress", "bad.pt", *foreign], 3, "safetensors.torch as st")
    assert not proof.exists()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda s: s.pop("head.weight"), 12, "missing 1 of the network's 4 weights"),
        (lambda s: s.update(extra=torch.ones(1)), 12, "unexpected 1 (`extra`)"),
        (lambda s: s.update({"haed.bias": s.pop("head.bias")}), 12, "did you mean `haed.bias`?"),
        (lambda s: s.update({"head.bias": torch.ones(3)}), 12, "expects (2,)"),
        (lambda s: s["head.bias"].fill_(torch.nan), 13, "`head.bias` has 2 NaN or Inf"),
        (lambda s: s["head.bias"].fill_(-torch.inf), 13, "`head.bias` has 2 NaN or Inf"),
    ],
    ids=["missing", "unexpected", "nearest", "shape", "nan", "inf"],
)
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_weights_that_do_not_fit(here, refused, change, code, words, kind):
    namespace: dict[str, Any] = {}
    exec(NETWORK, namespace)
    state = namespace["build"]().state_dict()
    change(state)
    name = f"bad.{kind}"
    save_file(state, name) if kind == "safetensors" else torch.save(state, name)
    foreign = ["--model", "ournet:build", "--input", "image=1x3x16x16", "-o", "new"]
    refused(["compress", name, *foreign], code, name, words)


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("ournet:overflows", 13, "NaN or Inf in float32"),
        ("ournet:fails", 2, "weights of last year"),
        ("ournet:biuld", 2, "did you mean `build`"),
        ("nonet:build", 2, "cannot import `nonet`"),
    ],
)
def test_a_network_that_fails(here, refused, model, code, words):
    namespace: dict[str, Any] = {}
    exec(NETWORK, namespace)
    save_file(namespace["build"]().state_dict(), "good.safetensors")
    shape = ["--input", "image=1x3x16x16", "-o", "new"]
    refused(["compress", "good.safetensors", "--model", model, *shape], code, words)


def test_nan_in_the_weights_of_a_checkpoint(here, refused):
    document = torch.load("run/ckpt.pt", weights_only=True)
    next(iter(document["model"].values())).view(-1)[0] = torch.nan
    torch.save(document, "run/ckpt.pt")
    refused(["compress", "run", "-o", "new"], 13, "1 NaN or Inf", "nothing was written")
    refused(["train", "--resume", "run"], 13, "NaN or Inf")
    new = ["--run-dir", "new"]
    refused(["train", "rooms-smoke", *TINY, "--init", "run/ckpt.pt", *new], 13, "NaN")
    assert run(["inspect", "run", "--json"]) == 0  # it looks, and says so


def test_a_checkpoint_changed_by_hand(here, refused):
    document = torch.load("run/ckpt.pt", weights_only=True)
    for change, words in (
        ({"tasks": {"seg": 3}}, "tasks.seg"),
        ({"model": {"a": 1}}, "model.a"),
        ({"optimizer": {}}, "optimisers"),
        ({"optimizer": {"main": 3}}, "optimisers"),
        ({"history": []}, "0 records"),
    ):
        torch.save(document | change, "run/ckpt.pt")
        refused(["train", "--resume", "run"], 11, words)


def test_a_resume_that_cannot_start_leaves_the_run_as_it_was(here, refused):
    refused(["train", "--resume", "run", "--device", "cuda:63"], 2, "cuda:63")
    (here / "run/run.json").write_text("[]")
    refused(["train", "--resume", "run"], 11, "run.json")
    (here / "run/run.json").unlink()
    recipe = here / "run/recipe.toml"
    recipe.write_text(recipe.read_text().replace("seed = 0", "seed = 5"))
    refused(["train", "--resume", "run"], 2, "`seed` is 5")


def test_a_recipe_with_a_mistake(here, refused):
    text = (here / "run/recipe.toml").read_text()
    for change, words in (
        (text.replace("epochs = 3", 'epochs = "many"'), "`train.epochs`"),
        (text.replace("epochs = 3", "epcohs = 3"), "did you mean `epochs`?"),
        ("[[[ this is no recipe", "not TOML"),
        (text.replace("batch_size = 4", "batch_size = []"), "`data.batch_size`"),
        (text.replace('"segnet"', '"segnett"'), "did you mean `segnet`?"),
    ):
        assert change != text
        (here / "mine.toml").write_text(change)
        refused(["train", "mine.toml", "--run-dir", "new"], 2, words)
    (here / "mine.toml").write_bytes(b"\xff\xfe\x00")
    refused(["train", "mine.toml", "--run-dir", "new"], 2, "not TOML")
    refused(["train", "rooms-smok", "--run-dir", "new"], 2, "did you mean `rooms-smoke`?")


def test_a_diverging_run_keeps_no_bad_checkpoint(here, capfd):
    into = ["--run-dir", "new", "--quiet"]
    for extra in ([], ["--set", "train.clip_norm=1.0"]):
        assert run(["train", "rooms-smoke", *TINY, "--set", "train.lr=1e30", *extra, *into]) == 13
        errors = capfd.readouterr().err
        assert "epoch 1" in errors
        assert "nothing was saved" in errors
        assert len(errors.splitlines()) == 2
        assert json.loads((here / "new/run.json").read_text())["status"] == "failed"
        assert not (here / "new/ckpt.pt").exists()
        shutil.rmtree(here / "new")


def test_no_folder_to_write_to(here, refused):
    for command in (
        ["train", "rooms-smoke", *TINY, "--run-dir", "ournet.py/new"],
        ["train", "rooms-smoke", *TINY, "--runs", "ournet.py"],
        ["compress", "run", "-o", "ournet.py/new"],
        ["bench", "compact", "--seconds", "0", "--rounds", "2", "--out", "ournet.py/new.json"],
        ["report", "compact", "--run", "run", "-o", "ournet.py/new.html"],
    ):
        refused(command, 14, "ournet.py", "a file stands where a folder is needed")


def test_compress_pushes_nothing_aside_but_its_own(here, refused, capfd):
    refused(["compress", "run", "-o", "run"], 2, "holds other files")
    refused(["compress", "run", "-o", "."], 2, "holds other files")
    refused(["compress", "run", "-o", "ournet.py"], 2, "is a file")
    document = torch.load("run/ckpt.pt", weights_only=True)
    document["history"][0]["seconds"] = 9.0
    torch.save(document, "run/ckpt.pt")
    before = everything(here / "compact")
    assert run(["compress", "run", "--quiet"]) == 0
    assert everything(here / "compact.previous") == before
    assert not (here / "compact/model.onnx").exists()
    shutil.copy(here / "compact.previous/model.onnx", "compact")
    shutil.copy(here / "compact.previous/model.onnx.json", "compact")
    refused(["bench"], 10, "model.onnx was made from another model.pt2", "compactmtl export")


def test_a_damaged_compact_folder(here, refused):
    model, inputs = here / "compact/model.pt2", here / "compact/inputs.npz"
    whole, arrays = model.read_bytes(), inputs.read_bytes()
    inputs.write_bytes(flipped(arrays))
    refused(["export"], 11, "inputs.npz")
    refused(["bench"], 11, "inputs.npz")
    np.savez(inputs, image=np.full((2, 3, 32, 48), np.nan, np.float32))
    refused(["export"], 13, "NaN or Inf")
    refused(["bench"], 13, "NaN or Inf")
    np.savez(inputs, image=np.array([object()]))
    refused(["export"], 3, "inputs.npz")
    inputs.write_bytes(arrays)
    for content in (b"", whole[: len(whole) // 3], flipped(whole)):
        model.write_bytes(content)
        refused(["export"], 11, "compact/model.pt2")
        refused(["inspect", "compact"], 11, "compact/model.pt2")
        refused(["bench"], 10, "descends from its model.pt2")
        refused(["report"], 11, "another model.pt2")
    for name in ("report.json", "bench.json"):
        (here / "compact" / name).write_text("{")
    refused(["report"], 11, "report.json")


STAGES = {
    "train": ["train", "rooms-smoke", *TINY, "--run-dir", "new"],
    "resume": ["train", "--resume", "run"],
    "compress": ["compress", "run", "--prune-zero-channels"],
    "export": ["export", "--no-dense"],
    "bench": ["bench", "--seconds", "0", "--rounds", "2"],
    "report": ["report", "--run", "run"],
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_at_the_first_write(refused, monkeypatch, stage):
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    refused(STAGES[stage], 15, "disk full", "free some space")


@pytest.mark.parametrize("stage", ["compress", "export"])
def test_a_full_disk_at_a_later_write(refused, monkeypatch, stage):
    left = 1 if stage == "export" else 4

    def full(_handle: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    refused(STAGES[stage], 15, "disk full")


@pytest.mark.parametrize("stage", ["compress", "export", "bench", "report"])
def test_ctrl_c_while_a_file_is_being_written(refused, monkeypatch, stage):
    monkeypatch.setattr(files.os, "fsync", lambda _handle: signal.raise_signal(signal.SIGINT))
    assert refused(STAGES[stage], 130)["message"] == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_process_is_interrupted(here, number):
    before = everything(here)
    environment = os.environ | {"PYTHONPATH": str(Path(compactmtl.__file__).parents[1])}
    command = [sys.executable, "-m", "compactmtl", "bench", "--seconds", "600"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(2)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "error: interrupted\n"
    assert output == ""
    assert everything(here) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_find_no_room():
    environment = os.environ | {"PYTHONPATH": str(Path(compactmtl.__file__).parents[1])}
    for extra in ([], ["--json"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "compactmtl", "recipes", *extra],
                env=environment,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 15
        assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
