"""python on_onnxruntime.py compact/model.onnx street.png"""

import onnxruntime
from application import arguments, draw, preprocess, read_sidecar

given = arguments(".onnx")
sidecar = read_sidecar(given.artefact)
session = onnxruntime.InferenceSession(str(given.artefact), providers=["CPUExecutionProvider"])
names = [output["name"] for output in sidecar["outputs"]]
values = session.run(names, preprocess(sidecar, given.image, given.size))
draw(sidecar, dict(zip(names, values, strict=True)), given.out)
