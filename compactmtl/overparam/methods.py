"""The methods there are, one file each."""

from compactmtl.errors import PartError
from compactmtl.overparam.branched import BranchedConv
from compactmtl.overparam.doconv import DoConv
from compactmtl.overparam.expandnet import ExpandNet, ExpandNetKernel
from compactmtl.overparam.fnl import Fnl
from compactmtl.overparam.kernel import KernelFactors
from compactmtl.overparam.repvgg import RepVgg
from compactmtl.overparam.sharing import MShare, UvShare
from compactmtl.overparam.umv import Umv
from compactmtl.parts import find_part

Method = type[KernelFactors] | type[BranchedConv]

METHODS: dict[str, Method] = {
    method.method: method
    for method in (Umv, MShare, UvShare, Fnl, DoConv, ExpandNet, ExpandNetKernel, RepVgg)
}


def find_method(name: str) -> Method:
    """Return a method of ``METHODS``, or the user's own by ``package.module:Name``.

    Raises:
        PartError: There is none of this name, or it is no method.
    """
    part = find_part(name, METHODS, "overparameterisation method")
    if not (isinstance(part, type) and issubclass(part, (KernelFactors, BranchedConv))):
        raise PartError(f"`{name}` is not a subclass of compactmtl.overparam.KernelFactors")
    return part
