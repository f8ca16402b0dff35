"""Strong typing, and the weak typing that TensorRT before 10.12 may need.

Everywhere else the number formats stand in the ONNX graph and the network is strongly typed. On
10.0 to 10.11 (JetPack 6 has 10.3) strong typing exists, but is said to be complete only from 10.12
on; there, and only if asked, the builder may choose: FP16 kernels for the FP32 graph, INT8 kernels
for a graph with QDQ nodes. Never run: no such TensorRT was at hand, a stand-in tests the control
flow alone.
"""

from typing import Any

from compactmtl.board.bindings import Bindings
from compactmtl.board.errors import AskedError
from compactmtl.board.onnx_file import OnnxFile
from compactmtl.board.recipe import BuildRecipe

STRONG_SINCE = (10, 12)
"""From here on weak typing is deprecated, and from 11 on it is gone."""


def network_flags(bindings: Bindings, recipe: BuildRecipe) -> int:
    """Return the flags to create a network with.

    Raises:
        AskedError: Weak typing is asked for where strong typing is complete.
    """
    if recipe.weak_typing is None:
        return 1 << int(bindings.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    if bindings.version >= STRONG_SINCE:
        raise AskedError(
            f"weak typing is for TensorRT before 10.12, this is {bindings.name}",
            hint="give it the ONNX file of the precision you want; it holds the number formats",
        )
    return 0


def set_weak_flags(
    bindings: Bindings, config: Any, recipe: BuildRecipe, source: OnnxFile
) -> tuple[str, ...]:
    """Set the builder flags of weak typing; return their names.

    Raises:
        AskedError: The ONNX file is not the one that the flags are for.
    """
    if recipe.weak_typing is None:
        return ()
    is_quantised = "QuantizeLinear" in source.nodes
    if is_quantised != (recipe.weak_typing == "int8"):
        raise AskedError(
            f"weak typing with {recipe.weak_typing} needs an ONNX file "
            f"{'without' if is_quantised else 'with'} QDQ nodes, got `{source.path.name}`",
            hint="fp16 starts from the fp32 file, int8 from the int8 file",
        )
    names = ("FP16",) if recipe.weak_typing == "fp16" else ("INT8", "FP16")
    for name in names:
        config.set_flag(getattr(bindings.module.BuilderFlag, name))
    return names
