"""An fp32 ONNX model in int8: quantise and dequantise (QDQ) around its convolutions.

Two schemes, because what one runtime needs is what another is slow with; see ``Scheme``. In both,
QDQ and not integer operators, and weights symmetric and per channel.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
)

from compactmtl.errors import ExportError
from compactmtl.export.options import Dialect
from compactmtl.export.precision.layers import layers
from compactmtl.export.precision.order import in_order
from compactmtl.export.precision.quiet import quiet
from compactmtl.export.stored import Array, Stored

LAYERS = ("Conv",)


@dataclass(frozen=True)
class Scheme:
    """What is quantised, and how.

    Attributes:
        words: The same, for the sidecar.
        glue: Operators that are quantised beside layers, so that values between two layers stay in
            8 bits. One that touches a kept layer is kept, too.
        activations: Their type; unsigned ones have a zero point of their own.
        seven_bits: Whether weights use half of their range only.
        options: Of ONNX Runtime's quantiser.
    """

    words: str
    glue: Sequence[str]
    activations: QuantType
    seven_bits: bool
    options: Mapping[str, Any]


SCHEMES: Mapping[Dialect, Scheme] = {
    # ONNX Runtime joins DequantizeLinear, Conv and QuantizeLinear to one kernel only where nothing
    # is between them. A zero point of its own lets 8 bits express ReLU, which then goes away; with
    # zero points of 0 it stays, in fp32, with its conversions. Sums of an 8-bit unsigned and an
    # 8-bit signed factor overflow their 16 bits on x86 processors without VNNI, and weights of 7
    # bits do not.
    "onnx": Scheme(
        words="int8, QDQ around Conv and what lies between, activations uint8 with zero points, "
        "weights symmetric per channel in 7 bits; ranges from min and max",
        glue=("Add", "Clip", "Concat", "Gather", "MaxPool", "Relu"),
        activations=QuantType.QUInt8,
        seven_bits=True,
        options={},
    ),
    # TensorRT's parsers refuse zero points other than 0, and biases in int32.
    "tensorrt": Scheme(
        words="int8, QDQ around Conv, symmetric, weights per channel; ranges from min and max",
        glue=(),
        activations=QuantType.QInt8,
        seven_bits=False,
        options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    ),
}


class Int8:
    """Quantises a model, calibrated once; see ``Converter``.

    Args:
        model: In fp32, with batch norms folded.
        calibration: Real samples, of sizes the model takes.
        operators: Whose operators the file may hold; chooses the scheme.

    Raises:
        ExportError: The model has no convolution.
    """

    def __init__(self, model: onnx.ModelProto, calibration: Stored, operators: Dialect) -> None:
        self.scheme = SCHEMES[operators]
        self.method = self.scheme.words
        self.model = onnx.shape_inference.infer_shapes(model)
        self.layers = layers(self.model, LAYERS)
        if not self.layers:
            raise ExportError(
                "there is nothing to quantise: the model has no convolution with weights",
                hint="use --precision fp16",
            )
        with quiet(), tempfile.TemporaryDirectory() as folder:  # the calibrator works on files
            path = Path(folder) / "model.onnx"
            onnx.save_model(self.model, path)
            calibrator = create_calibrator(
                path,
                self._kinds,
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(_Reader(model, calibration))
            self.ranges = calibrator.compute_data()
            del calibrator  # its session holds the file open

    @property
    def _kinds(self) -> list[str]:
        return [*LAYERS, *self.scheme.glue]

    def build(self, keep: Collection[str]) -> onnx.ModelProto:
        """Quantise; see ``Converter.build``."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        with quiet():
            quantizer = QDQQuantizer(
                copy,
                per_channel=True,
                reduce_range=self.scheme.seven_bits,
                weight_qType=QuantType.QInt8,
                activation_qType=self.scheme.activations,
                tensors_range=self.ranges,
                nodes_to_quantize=[],  # all of the types below
                nodes_to_exclude=sorted({*keep, *self._beside(keep)}),
                op_types_to_quantize=self._kinds,
                extra_options=dict(self.scheme.options),
            )
            quantizer.quantize_model()
        return in_order(quantizer.model.model)

    def _beside(self, keep: Collection[str]) -> set[str]:
        """Return the glue that makes what a kept layer reads, or reads what it makes."""
        kept = [node for node in self.model.graph.node if node.name in keep]
        made = {name for node in kept for name in node.output}
        read = {name for node in kept for name in node.input}
        return {
            node.name
            for node in self.model.graph.node
            if node.op_type in self.scheme.glue
            and (made & set(node.input) or read & set(node.output))
        }


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Hands samples on, as many at a time as the model's batch size; 1 where that is free."""

    def __init__(self, model: onnx.ModelProto, samples: Stored) -> None:
        sizes = [value.type.tensor_type.shape.dim[0] for value in model.graph.input]
        self.batches = _batches(samples, max([1, *(int(size.dim_value) for size in sizes)]))

    def get_next(self) -> Mapping[str, Array] | None:
        """Return the next batch, None behind the last."""
        return next(self.batches, None)


def _batches(samples: Stored, size: int) -> Iterator[Mapping[str, Array]]:
    for start in range(0, samples.num_samples, size):
        # A fixed batch that the samples do not fill ends with samples that were there before.
        stop = min(start + size, samples.num_samples)
        yield {name: array[stop - size : stop] for name, array in samples.arrays.items()}
