"""What goes to the board: build an engine from an ONNX file, with nothing of the rest installed.

Standard library and numpy only, Python 3.10, and no import of the rest of compactmtl, which uses
this package. TensorRT's bindings are imported when a build starts.
"""

import os

# From release 1.29 on ONNX Runtime sends usage data, and writes an identifier, as soon as it is
# imported. A measurement is no place for that; who wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
