"""An fp32 ONNX model in int8: quantise and dequantise (QDQ) around its convolutions.

The one recipe that ONNX Runtime runs fast and TensorRT's parsers take: QDQ, not integer operators;
activations symmetric, so that zero points are 0; weights symmetric and per channel; biases in fp32;
convolutions alone. A scale is the largest magnitude that calibration saw, divided by 127.
"""

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
)

from compactmtl.errors import ExportError
from compactmtl.export.precision.layers import layers
from compactmtl.export.precision.order import in_order
from compactmtl.export.precision.quiet import quiet
from compactmtl.export.stored import Array, Stored

QUANTISED = ("Conv",)


class Int8:
    """Quantises a model, calibrated once; see ``Converter``.

    Args:
        model: In fp32, with batch norms folded.
        calibration: Real samples, of sizes the model takes.

    Raises:
        ExportError: The model has no convolution.
    """

    method = "int8, QDQ around Conv, symmetric, weights per channel; ranges from min and max"

    def __init__(self, model: onnx.ModelProto, calibration: Stored) -> None:
        self.model = onnx.shape_inference.infer_shapes(model)
        self.layers = layers(self.model, QUANTISED)
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
                QUANTISED,
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(_Reader(model, calibration))
            self.ranges = calibrator.compute_data()
            del calibrator  # its session holds the file open

    def build(self, keep: Collection[str]) -> onnx.ModelProto:
        """Quantise; see ``Converter.build``."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        with quiet():
            quantizer = QDQQuantizer(
                copy,
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QInt8,
                tensors_range=self.ranges,
                nodes_to_quantize=[],  # all of the types below
                nodes_to_exclude=sorted(keep),
                op_types_to_quantize=list(QUANTISED),
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                },
            )
            quantizer.quantize_model()
        return in_order(quantizer.model.model)


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
