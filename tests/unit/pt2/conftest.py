"""A small program, its file, its entries, and what must happen to a bad file."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compactmtl.errors import CompactMTLError
from compactmtl.pt2 import open_pt2, save_pt2

Entries = dict[str, bytes]


class Net(nn.Module):
    """Pooling with indices, sizes in the graph, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 2, 1)
        self.register_buffer("scale", torch.full((1, 8, 1, 1), 2.0), persistent=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = torch.relu_(self.norm(self.conv(image))) * self.scale
        pooled, where = nn.functional.max_pool2d(x, 2, 2, return_indices=True)
        x = nn.functional.max_unpool2d(pooled, where, 2, 2, output_size=x.shape[-2:])
        return {"seg": self.head(x), "mean": x.mean((2, 3))}


def capture(model: nn.Module) -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    auto = torch.export.Dim.DYNAMIC
    image = torch.rand(2, 3, 16, 24)
    return torch.export.export(
        model.eval(), (image,), dynamic_shapes=({0: auto, 2: auto, 3: auto},)
    )


@pytest.fixture(scope="session")
def program() -> torch.export.ExportedProgram:
    return capture(Net())


@pytest.fixture(scope="session")
def saved(program, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    save_pt2(program, path, {"tasks": {"seg": {}}})
    return path


@pytest.fixture
def network() -> nn.Module:
    return Net()


@pytest.fixture
def entries(saved) -> Entries:
    with zipfile.ZipFile(saved) as archive:
        return {i.filename.partition("/")[2]: archive.read(i) for i in archive.infolist()}


@pytest.fixture(scope="session")
def captured() -> Callable[[nn.Module], torch.export.ExportedProgram]:
    return capture


def _edited(entries: Entries, path: str, change: Callable[[dict], object]) -> Entries:
    document = json.loads(entries[path])
    change(document)
    return {**entries, path: json.dumps(document).encode()}


def _refused(
    content: bytes, folder: Path, kind: type[CompactMTLError], match: str | None = None
) -> None:
    (folder / "bad.pt2").write_bytes(content)
    with pytest.raises(kind, match=match) as caught:
        open_pt2(folder / "bad.pt2")
    assert "\n" not in caught.value.message
    assert not (folder / "pwned").exists()


@pytest.fixture(scope="session")
def edited() -> Callable[..., Entries]:
    return _edited


@pytest.fixture(scope="session")
def refused() -> Callable[..., None]:
    return _refused
