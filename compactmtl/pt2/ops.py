"""The operators a stored program may call: tensor functions that cannot reach anything else."""

import re

_POINTWISE = """
abs absolute acos acosh add addcdiv addcmul asin asinh atan atan2 atanh bitwise_and bitwise_not
bitwise_or bitwise_xor ceil celu clamp clamp_max clamp_min clip copysign cos cosh deg2rad div divide
elu eq erf erfc erfinv exp exp2 expm1 fix floor floor_divide fmax fmin fmod frac ge gelu glu greater
greater_equal gt hardshrink hardsigmoid hardswish hardtanh isclose isfinite isinf isnan isneginf
isposinf le leaky_relu lerp less less_equal lgamma log log10 log1p log2 log_sigmoid logaddexp
logical_and logical_not logical_or logical_xor logit lt maximum minimum mish mul multiply nan_to_num
ne neg negative not_equal pow prelu rad2deg reciprocal relu relu6 remainder round rrelu rsqrt rsub
selu sgn sigmoid sign silu sin sinc sinh softplus softshrink sqrt square sub subtract tan tanh
threshold true_divide trunc where xlogy
"""
_LAYERS = """
_native_batch_norm_legit _native_batch_norm_legit_no_training adaptive_avg_pool1d
_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool2d adaptive_avg_pool3d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d addbmm addmm addmv
affine_grid_generator alpha_dropout avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bilinear
bmm channel_shuffle col2im conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
convolution cosine_similarity dot dropout einsum embedding feature_alpha_dropout feature_dropout
grid_sampler grid_sampler_2d grid_sampler_3d group_norm im2col inner instance_norm layer_norm
linear linalg_vector_norm matmul max_pool1d max_pool1d_with_indices max_pool2d
max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d mm mv
native_batch_norm native_channel_shuffle native_dropout native_group_norm native_layer_norm norm
outer pairwise_distance pixel_shuffle pixel_unshuffle rms_norm scaled_dot_product_attention
tensordot upsample_bicubic2d _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa
upsample_linear1d upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d
_upsample_nearest_exact2d upsample_nearest3d upsample_trilinear3d
"""
_REDUCTIONS = """
all amax amin aminmax any argmax argmin argsort bincount cdist count_nonzero cummax cummin cumprod
cumsum kthvalue log_softmax _log_softmax logcumsumexp logsumexp max mean median min mode msort
nanmean nansum one_hot prod quantile softmax _softmax sort std std_mean sum topk trace var var_mean
"""
_SHAPES = """
adjoint alias as_strided atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat chunk
clone column_stack concat concatenate constant_pad_nd contiguous copy detach detach_copy diag
diag_embed diagonal dstack expand expand_as fill flatten flip fliplr flipud full full_like gather
hsplit hstack index index_add index_copy index_fill index_put index_select lift_fresh
lift_fresh_copy masked_fill masked_scatter masked_select meshgrid moveaxis movedim narrow new_full
new_ones new_zeros nonzero numpy_T ones ones_like pad permute ravel reflection_pad1d
reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d
replication_pad3d reshape reshape_as roll rot90 scatter scatter_add scatter_reduce select
select_scatter slice slice_scatter split split_with_sizes squeeze stack swapaxes swapdims t take
take_along_dim tensor_split tile transpose tril triu unbind unflatten unfold unsafe_chunk
unsafe_split unsqueeze view view_as vsplit vstack zero zeros zeros_like
"""
_TYPES_AND_SIZES = """
_assert_async _assert_scalar _assert_tensor_metadata _local_scalar_dense _to_copy arange eye
is_nonzero item linspace scalar_tensor sym_constrain_range sym_constrain_range_for_size
sym_is_contiguous sym_numel sym_size sym_storage_offset sym_stride to type_as
"""
_RANDOM = "bernoulli normal_functional rand rand_like randint randn randn_like uniform"

ATEN = frozenset(
    " ".join((_POINTWISE, _LAYERS, _REDUCTIONS, _SHAPES, _TYPES_AND_SIZES, _RANDOM)).split()
)
"""Functions of ``torch.ops.aten``; each one's in-place form (``relu_``) too.

Left out on purpose: whatever opens files (``from_file``), skips its bounds checks
(``_unsafe_index``, packed and sparse layouts), shows uninitialised memory (``empty``) or swaps
storages (``set_``, ``resize_``).
"""
_PYTHON = "add and_ eq floordiv ge getitem gt le lt mod mul ne neg or_ pos pow sub truediv"
_SYMBOLIC = "float int ite max min not sqrt sum"
SCALAR = frozenset(
    [f"_operator.{name}" for name in _PYTHON.split()]
    + [f"torch.sym_{name}" for name in _SYMBOLIC.split()]
    + ["math.trunc"]
)
"""Arithmetic on sizes."""


def is_allowed(target: str) -> bool:
    """Tell whether a stored program may call ``target``, as ``torch.export`` spells it."""
    if target in SCALAR:
        return True
    match = re.fullmatch(r"torch\.ops\.aten\.(\w+)\.(\w+)", target)
    if match is None:
        return False
    name, overload = match.groups()
    return (name in ATEN or name.removesuffix("_") in ATEN) and "out" not in overload.split("_")
