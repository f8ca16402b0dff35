"""python on_openvino.py compact/model.xml street.png"""

import openvino
from application import arguments, draw, preprocess, read_sidecar

given = arguments(".xml")
sidecar = read_sidecar(given.artefact)
# Without the hint, the CPU plugin computes in bfloat16 wherever the processor has it.
model = openvino.Core().compile_model(
    str(given.artefact), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
)
values = model(preprocess(sidecar, given.image, given.size))
names = [output["name"] for output in sidecar["outputs"]]
draw(sidecar, {name: values[name] for name in names}, given.out)
