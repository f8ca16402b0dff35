"""What to do about what TensorRT's parser or builder refuses; its words may be just ``false``.

Each entry was seen in TensorRT-RTX 1.7.1 on a network of one operator, except where it says so.
"""

_INDICES = (
    "TensorRT has neither pool indices nor unpooling: compactmtl writes both by comparisons, "
    "unless the pool has ceil_mode, its windows overlap, or the indices are changed on the way to "
    "the unpool; otherwise upsample by `interpolate`"
)
BY_OPERATOR: dict[tuple[str, str], str] = {
    ("MaxPool", "UNSUPPORTED_NODE"): _INDICES,
    ("MaxUnpool", "UNSUPPORTED_NODE"): _INDICES,
    ("ScatterElements", "UNSUPPORTED_NODE_ATTR"): (
        "adding into an index is not there: write scatter_add as a product with a one-hot matrix"
    ),
    ("ScatterND", "UNSUPPORTED_NODE_ATTR"): (
        "adding into an index is not there: write index_add as a product with a one-hot matrix"
    ),
    ("Resize", "UNSUPPORTED_NODE_ATTR"): (
        "fix the size (`compress --static`) to get it as two products; or resize with "
        "antialias=False"
    ),
    ("NonZero", "UNSUPPORTED_NODE"): (
        "how many are found is known only at run time: keep a mask in place of the indices"
    ),
    ("DFT", "INVALID_NODE"): (
        "there is no Fourier transform: write one of a fixed size as a product with its matrix"
    ),
    ("Det", "UNSUPPORTED_NODE"): "there are no determinants: leave them to the application",
    ("QuantizeLinear", "INVALID_NODE"): (
        "zero points must be 0: quantise symmetrically, to int8, activations too"
    ),
    ("DequantizeLinear", "INVALID_NODE"): "leave biases in fp32: 32-bit integers are not taken",
    ("QLinearConv", "INVALID_NODE"): "quantise in QDQ form, not as QLinear operators",
}
"""Operator and error code to what the user can do."""
BY_CODE: dict[str, str] = {
    "UNSUPPORTED_NODE": "write it with other operators, or leave it to the application",
    "UNSUPPORTED_NODE_ATTR": "the operator is there, but not with this setting",
    "UNSUPPORTED_NODE_DATATYPE": "cast its inputs to fp32 first",
    "UNSUPPORTED_NODE_DYNAMIC": "fix the size: `compress --static`",
    "INVALID_NODE": "no plugin has this operator; plugins are not loaded",
    "MODEL_DESERIALIZE_FAILED": "export the file again",
}
"""Error code to what the user can do about any other operator."""


def advise(operator: str, code: str) -> str:
    """Return what to do about an operator that is refused with an error code; may be empty."""
    return BY_OPERATOR.get((operator, code)) or BY_CODE.get(code, "")


BY_BUILDER: dict[str, str] = {
    "FP32 GEMM is not supported": (
        "GPUs of compute capability 7.5 take linear layers in fp16 only: leave 7.5 out, or export "
        "with --precision fp16"
    ),
}
"""What a builder says, in part, to what the user can do."""


def advise_builder(said: str) -> str:
    """Return what to do about what a builder said; may be empty."""
    return next((advice for part, advice in BY_BUILDER.items() if part in said), "")
