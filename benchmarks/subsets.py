"""Less of some data sets, so that a run takes minutes: as many images, evenly spaced, and crops."""

from typing import Any

from compactmtl.data.cifar100 import Cifar100Subset
from compactmtl.data.nuclei import SIDE, Nuclei
from compactmtl.data.nuclei_instances import NucleiInstances


class _Few:
    """Before a data set among the bases: ``num`` images of it, evenly spaced."""

    num: int

    def keep(self, split: str, num: int, num_eval: int) -> None:
        """Keep ``num`` images of the training split, ``num_eval`` of another, if there are."""
        whole: Any = super()
        self.num = min(num if split == "train" else num_eval, whole.__len__())

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Any:
        whole: Any = super()
        return whole.__getitem__(index * whole.__len__() // self.num)


class FewNuclei(_Few, Nuclei):
    """``nuclei_128``: the square of ``side`` pixels in the middle of some images."""

    def __init__(self, split: str, num: int = 128, num_eval: int = 64, side: int = 64) -> None:
        super().__init__(split)
        self.keep(split, num, num_eval)
        first = (SIDE - side) // 2
        self.middle = slice(first, first + side)

    def __getitem__(self, index: int) -> Any:
        image, targets = super().__getitem__(index)
        cut = (..., self.middle, self.middle)
        return image[cut], {name: target[cut] for name, target in targets.items()}


class FewCifar(_Few, Cifar100Subset):
    """``cifar100_subset``: some images."""

    def __init__(self, split: str, num: int = 1024, num_eval: int = 512) -> None:
        super().__init__(split)
        self.keep(split, num, num_eval)


class FewNucleiInstances(_Few, NucleiInstances):
    """``nuclei_128``, nucleus by nucleus: some images."""

    def __init__(self, split: str, num: int = 240, num_eval: int = 48) -> None:
        super().__init__(split)
        self.keep(split, num, num_eval)
