"""The methods there are, one file each."""

from compactmtl.overparam.branched import BranchedConv
from compactmtl.overparam.doconv import DoConv
from compactmtl.overparam.expandnet import ExpandNet, ExpandNetKernel
from compactmtl.overparam.fnl import Fnl
from compactmtl.overparam.kernel import KernelFactors
from compactmtl.overparam.repvgg import RepVgg
from compactmtl.overparam.sharing import MShare, UvShare
from compactmtl.overparam.umv import Umv

Method = type[KernelFactors] | type[BranchedConv]

METHODS: dict[str, Method] = {
    method.method: method
    for method in (Umv, MShare, UvShare, Fnl, DoConv, ExpandNet, ExpandNetKernel, RepVgg)
}
