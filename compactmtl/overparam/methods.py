"""The methods there are, one file each."""

from compactmtl.overparam.kernel import KernelFactors
from compactmtl.overparam.umv import Umv

METHODS: dict[str, type[KernelFactors]] = {"umv": Umv}
