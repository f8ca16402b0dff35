"""Blocks of channels that ONNX Runtime's kernels work on, on this machine."""

import tempfile
from pathlib import Path

from compactmtl.board.bench.chains import Layer, Layers, model
from compactmtl.board.files import read_bytes
from compactmtl.board.onnx_session import import_onnxruntime, session_options
from compactmtl.board.onnx_wire import fields, integers, message, text

BLOCKS = (32, 16, 8, 4)


def find_blocks() -> tuple[int, int]:
    """Return by which number channels must divide for blocked kernels, and how many a block has.

    Read from what the runtime makes of small graphs here; (1, 1) where it has no blocked kernels.
    """
    block = _blocked_rows(columns=max(BLOCKS))
    if not block:
        return 1, 1
    align = next(n for n in (1, 2, 4, 8, 16, 32) if _blocked_rows(columns=2 * max(BLOCKS) + n))
    return align, block


def _blocked_rows(*, columns: int) -> int:
    """Return the rows that a convolution with one output channel is padded to; 0 if not blocked."""
    content = model(Layers((Layer(1, columns, 3, 1, 8),)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = session_options(1)
        options.optimized_model_filepath = str(path)
        providers = ["CPUExecutionProvider"]
        import_onnxruntime().InferenceSession(content, options, providers=providers)
        optimised = read_bytes(path)
    (graph,) = (message(value) for number, value in fields(memoryview(optimised)) if number == 7)
    sizes: dict[str, list[int]] = {}
    weights: list[str] = []
    for number, value in fields(graph):
        if number == 1:
            node = list(fields(message(value)))
            words = {kind: text(each) for kind, each in node if kind in (4, 7)}
            inputs = [text(each) for kind, each in node if kind == 1]
            if words.get(7, "").endswith("nchwc") and "Conv" in words[4]:
                weights.append(inputs[1])
        elif number == 5:
            tensor = list(fields(message(value)))
            (name,) = (text(each) for kind, each in tensor if kind == 8)
            sizes[name] = [size for kind, each in tensor if kind == 1 for size in integers(each)]
    return sizes[weights[0]][0] if weights else 0
