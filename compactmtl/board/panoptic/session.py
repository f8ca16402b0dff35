"""A whole Panoptic FPN as one artefact: a JSON file that names the ONNX files of its parts."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compactmtl.board.errors import DamagedError
from compactmtl.board.files import read_bytes, read_json
from compactmtl.board.onnx_session import OnnxSession
from compactmtl.board.panoptic.parts import NAMES, Part
from compactmtl.board.panoptic.pipeline import PanopticPipeline, Processing
from compactmtl.board.tensors import Array, InputInfo

SUFFIX = ".panoptic"
FORMAT_VERSION = 2
BETWEEN = "between"
"""What the times call numpy's share."""


class PanopticSession:
    """ONNX files in ONNX Runtime and numpy between; a ``compactmtl.board.sessions.Session``.

    It takes one image; what it yields says ``PanopticPipeline``.

    Args:
        path: The file that ``compactmtl export`` wrote; the parts lie in folders beside it.
        threads: Threads of ONNX Runtime.

    Raises:
        AbsentError: It, or a part, is not there.
        DamagedError: It is damaged, or a part is another one than it names.
        MissingPackageError: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        started = time.perf_counter_ns()
        self.name = str(path)
        document = read_json(path)
        loaded = {
            name: OnnxSession(file, threads=threads)
            for name, file in part_files(path, document).items()
        }
        self.load_ms = (time.perf_counter_ns() - started) / 1e6
        self.inputs = (InputInfo("image", (1, 3, "height", "width"), "float32"),)
        self.runtime = f"{loaded['pixels'].runtime}, numpy between the parts"
        self.device = "cpu"
        self.device_clock: Callable[[], float] | None = None
        self.includes = "RoI align, suppression; anchors, masks and merging in numpy"
        self.times_ms: dict[str, float] = {}
        self._pipeline = PanopticPipeline(
            Processing.of(document.get("processing", {})),
            {name: self._timed(name, session) for name, session in loaded.items()},
        )

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; ``times_ms`` is then the CPU time of each part, and of what is between them."""
        self.times_ms = {}
        started = time.process_time_ns()
        found = self._pipeline(inputs["image"])
        in_parts = sum(self.times_ms.values())
        self.times_ms[BETWEEN] = (time.process_time_ns() - started) / 1e6 - in_parts
        return found

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        """Return a call for timing; see ``Session``."""
        return lambda: self(inputs)

    def _timed(self, name: str, session: OnnxSession) -> Part:
        def call(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
            started = time.process_time_ns()
            found = session(arrays)
            taken = (time.process_time_ns() - started) / 1e6
            self.times_ms[name] = self.times_ms.get(name, 0.0) + taken  # some run several times
            return found

        return call


def part_files(path: Path, document: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files of the parts, after checking that they are those the artefact names.

    Raises:
        AbsentError: One is not there.
        DamagedError: One is another, lies elsewhere, or the document is of another form.
    """
    hint = "`compactmtl export` writes it and its parts"
    try:
        version = document["format_version"]
        if version != FORMAT_VERSION:
            raise DamagedError(
                f"`{path}` has format version {version}, expected {FORMAT_VERSION}", hint=hint
            )
        stated = {
            name: (str(document["parts"][name]["file"]), document["parts"][name]["sha256"])
            for name in NAMES
        }
    except (KeyError, TypeError) as error:
        raise DamagedError(f"`{path}` does not name its parts: {error}", hint=hint) from error
    files = {}
    for name, (file, digest) in stated.items():
        steps = Path(file).parts
        if len(steps) != 2 or ".." in steps or Path(file).is_absolute():
            raise DamagedError(f"`{path}`: part `{file}` lies outside its folder", hint=hint)
        place = path.parent / file
        if hashlib.sha256(read_bytes(place)).hexdigest() != digest:
            raise DamagedError(f"`{place}` is not the part that `{path.name}` names", hint=hint)
        files[name] = place
    return files
