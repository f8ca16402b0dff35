"""python on_tensorrt.py compact/model.engine street.png   (never run on hardware by us)

With the part of compactmtl that goes to a board: standard library, numpy, TensorRT, libcudart.
"""

from application import arguments, draw, preprocess, read_sidecar

from compactmtl.board.engine import EngineSession

given = arguments(".engine")
sidecar = read_sidecar(given.artefact)
engine = EngineSession(given.artefact)
draw(sidecar, engine(preprocess(sidecar, given.image, given.size)), given.out)
