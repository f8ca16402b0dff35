"""The CUDA runtime is found where it lies; that it does what it should was never seen here."""

import ctypes
from types import SimpleNamespace

import pytest

from compactmtl.board.cudart import Cuda
from compactmtl.board.errors import NotHereError


def test_the_wheels_of_a_workstation_are_looked_through(tmp_path, monkeypatch):
    library = tmp_path / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    asked = []

    def load(name):
        asked.append(name)
        if name != str(library):
            raise OSError(name)
        return SimpleNamespace(cudaStreamCreate=lambda place: 0)

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert Cuda().stream == 0
    assert asked[0] == "libcudart.so"  # the system's own comes first
    library.unlink()
    with pytest.raises(NotHereError, match="no CUDA runtime"):
        Cuda()


def test_without_a_gpu_it_does_not_start(monkeypatch):
    def says(code):
        return b"no device"

    library = SimpleNamespace(cudaStreamCreate=lambda place: 100, cudaGetErrorString=says)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    with pytest.raises(NotHereError, match=r"CUDA does not start .*no device \(code 100\)"):
        Cuda()
