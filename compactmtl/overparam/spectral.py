"""Kernels as matrices, and the factors they start from.

Shape suffixes: O out channels, I in channels, y and x kernel height and width, R rank. A grouped
convolution has a kernel (O, I, y, x) and a matrix per group; both then have G in front.
"""

import torch
from torch import Tensor


def kernel_matrix(weight: Tensor) -> Tensor:
    """Unfold a kernel (O, I, y, x) or (O, I) to its matrix (O*y, I*x).

    Source: Khodak et al. (2021), spatial factorisation. Rows are (O, y), columns (I, x): the
    axes must be permuted before the reshape, or the factors reproduce another kernel.
    """
    if weight.dim() == 2:
        return weight
    *groups, out, inn, height, width = weight.shape
    return weight.transpose(-3, -2).reshape(*groups, out * height, inn * width)


def kernel_of_matrix(matrix: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Fold a matrix (O*y, I*x) back to a contiguous kernel of this shape."""
    if len(shape) == 2:
        return matrix
    *groups, out, inn, height, width = shape
    return matrix.reshape(*groups, out, height, inn, width).transpose(-3, -2).contiguous()


def spectral_factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factor a kernel's matrix exactly: U = A sqrt(S) and V = sqrt(S) B^T, with A S B^T its SVD.

    Above full rank, U is padded with zeros and V with small random rows: the product is still
    exact, and the padding can learn. With zeros on both sides its gradients would be zero for
    ever.

    Returns:
        U (O*y, R) and V (R, I*x) in float64, on the kernel's device.

    Source: Khodak et al. (2021), spectral initialisation.
    """
    device = weight.device
    wide = kernel_matrix(weight).to("cpu" if device.type == "mps" else device).to(torch.float64)
    left, scale, right = torch.linalg.svd(wide, full_matrices=False)
    U = left * scale.sqrt()[..., None, :]
    V = scale.sqrt()[..., None] * right
    extra = rank - scale.shape[-1]
    if extra > 0:
        small = torch.randn(*V.shape[:-2], extra, V.shape[-1]).to(V)
        small *= V.std(dim=-1, correction=0).mean()
        U = torch.cat([U, U.new_zeros(*U.shape[:-1], extra)], dim=-1)
        V = torch.cat([V, small], dim=-2)
    return U, V


def direct_factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Draw U and V as the kernel itself was drawn; their product is another kernel.

    The initialiser is recovered as normal with std = gain / sqrt(fan_in), the gain measured on the
    given kernel, so that U and V follow the network's own choice. The product's std is then
    gain * sqrt(y) times the kernel's (3x3: 1.7 for Xavier's gain 1, 2.4 for Kaiming's sqrt(2)).
    That is what Ren & Shi's section 2.3 says, and why ``spectral``, their section 3.2, is the
    default.

    Returns:
        U (O*y, R) and V (R, I*x) in float64, on the CPU.
    """
    *groups, rows, columns = kernel_matrix(weight).shape
    fan_in = weight.shape[-3:].numel() if weight.dim() > 2 else columns
    gain = weight.cpu().double().std(correction=0) * fan_in**0.5
    U = torch.randn(*groups, rows, rank, dtype=torch.float64) * gain / rank**0.5
    V = torch.randn(*groups, rank, columns, dtype=torch.float64) * gain / columns**0.5
    return U, V
