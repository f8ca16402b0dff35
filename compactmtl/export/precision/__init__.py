"""Lower precision, written into the ONNX graph: FP16 casts, or INT8 quantisation."""
