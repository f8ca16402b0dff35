"""Less of some data sets, so that a run takes minutes: as many images, evenly spaced, and crops."""

from torch import Tensor

from compactmtl.data.cifar100 import Cifar100Subset
from compactmtl.data.nuclei import SIDE, Nuclei
from compactmtl.data.nuclei_instances import NucleiInstances
from compactmtl.multitask.instances import Things

Sample = tuple[Tensor, dict[str, Tensor]]


class FewNuclei(Nuclei):
    """``nuclei_128``: ``num`` images of a split, the square of ``side`` pixels in their middle."""

    def __init__(self, split: str, num: int = 128, num_eval: int = 64, side: int = 64) -> None:
        super().__init__(split)
        self.num = min(num if split == "train" else num_eval, super().__len__())
        first = (SIDE - side) // 2
        self.middle = slice(first, first + side)

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Sample:
        image, targets = super().__getitem__(index * super().__len__() // self.num)
        cut = (..., self.middle, self.middle)
        return image[cut], {name: target[cut] for name, target in targets.items()}


class FewCifar(Cifar100Subset):
    """``cifar100_subset``: ``num`` images of a split."""

    def __init__(self, split: str, num: int = 1024, num_eval: int = 512) -> None:
        super().__init__(split)
        self.num = min(num if split == "train" else num_eval, super().__len__())

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Sample:
        return super().__getitem__(index * super().__len__() // self.num)


class FewNucleiInstances(NucleiInstances):
    """``nuclei_128``, nucleus by nucleus: ``num`` images of a split, ``num_eval`` of the others."""

    def __init__(self, split: str, num: int = 240, num_eval: int = 48) -> None:
        super().__init__(split)
        self.num = min(num if split == "train" else num_eval, super().__len__())

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor | Things]]:
        return super().__getitem__(index * super().__len__() // self.num)
