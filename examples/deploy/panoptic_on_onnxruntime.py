"""python panoptic_on_onnxruntime.py compact/model.panoptic cells.png

Needs numpy, pillow and onnxruntime, and of compactmtl its folder `compactmtl/board` alone.
"""

import numpy as np
from application import COLOURS, arguments, preprocess, read_sidecar
from PIL import Image, ImageDraw

from compactmtl.board.panoptic.session import PanopticSession

SURE = 0.5

given = arguments(".panoptic")
sidecar = read_sidecar(given.artefact)
session = PanopticSession(given.artefact, threads=1)
image = preprocess(sidecar, given.image, given.size)
found = session(image)

given.out.mkdir(parents=True, exist_ok=True)
ids = found["panoptic"][0, 0]
drawn = np.zeros((*ids.shape, 3), dtype=np.uint8)  # black: neither thing nor stuff
for place, segment in enumerate(np.unique(ids[ids >= 0])):
    drawn[ids == segment] = COLOURS[place % len(COLOURS)]
Image.fromarray(drawn).save(given.out / "panoptic.png")

picture = Image.fromarray((image["image"][0].transpose(1, 2, 0) * 255).astype(np.uint8))
pen = ImageDraw.Draw(picture)
sure = found["scores"] >= SURE
for box, label in zip(found["boxes"][sure].tolist(), found["labels"][sure].tolist(), strict=True):
    pen.rectangle(box, outline=COLOURS[label % len(COLOURS)])
picture.save(given.out / "instances.png")
print(f"{int(sure.sum())} things, {len(np.unique(ids[ids >= 0]))} segments: {given.out}")
