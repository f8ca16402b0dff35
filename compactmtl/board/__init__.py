"""What goes to the board: build an engine from an ONNX file, with nothing of the rest installed.

Standard library and numpy only, Python 3.10, and no import of the rest of compactmtl, which uses
this package. TensorRT's bindings are imported when a build starts.
"""
