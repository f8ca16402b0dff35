"""Real samples to calibrate on: of a data set, of a folder of images, of a pack.

Ranges that come from anything but real samples fit anything but real samples: what is random, or
of unknown origin, is refused.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from torch.export import ExportedProgram

from compactmtl.compact import REAL_IMAGES
from compactmtl.data import DATASETS
from compactmtl.errors import DataError, UsageError
from compactmtl.export.cases import input_shapes, sizes_text
from compactmtl.export.interface import Interface
from compactmtl.export.stored import Array, Stored, read_inputs
from compactmtl.parts import call_part, find_part, is_foreign
from compactmtl.recipe import DataSection

NUM_SAMPLES = 128
"""Samples taken of a larger data set or folder, spread evenly."""
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MADE_UP = ("seeded noise", "uniform random")
"""How this library's own files say that their samples are not real."""


def find_calibration(
    wanted: Stored | str | None,
    program: ExportedProgram,
    interface: Interface,
    stored: Stored,
    data: DataSection | None,
) -> Stored:
    """Return the samples to calibrate on, checked.

    Args:
        wanted: What ``Options.calibration`` says.
        program: The model.
        interface: Names of its inputs.
        stored: The samples it is checked with, which are used where ``wanted`` is None.
        data: The data set of the model's recipe, whose arguments are used where it is named.

    Raises:
        UsageError: No samples are named and those stored are not real; or the name means nothing.
        DataError: They are not what the model takes: empty, of a wrong shape or type, NaN, Inf.
        MissingFileError: There is no such file, or the data is not on this machine.
        CorruptFileError: A file is damaged.
    """
    if wanted is None:
        if not stored.source.startswith(REAL_IMAGES):
            raise UsageError(
                f"int8 needs real samples to calibrate on; those at hand are {stored.source}",
                hint="give --calibration: a data set, a folder of images, or a pack (.npz)",
            )
        found = Stored(arrays=stored.arrays, source=f"{stored.source} (those stored beside it)")
    elif isinstance(wanted, Stored):
        found = wanted
    else:
        found = _read(wanted, program, interface, data)
    _check(found, program, interface, stored)
    return Stored(
        arrays={name: found.arrays[name] for name in interface.input_names}, source=found.source
    )


def _read(
    wanted: str,
    program: ExportedProgram,
    interface: Interface,
    data: DataSection | None,
) -> Stored:
    path = Path(wanted)
    if names_data_set(wanted):
        name = _image_input(wanted, interface)
        factory = find_part(wanted, DATASETS, "data set")
        args = data.args if data is not None and data.name == wanted else {}
        dataset = call_part(wanted, factory, "train", **args)
        if not len(dataset):
            raise DataError(f"data set `{wanted}` is empty, expected at least 1 sample")
        images = [
            call_part(wanted, dataset.__getitem__, index)[0].numpy()
            for index in spread(len(dataset), NUM_SAMPLES)
        ]
        return Stored({name: _stack(images, wanted)}, f"training images of {wanted}")
    if path.is_dir():
        return _read_folder(path, program, _image_input(wanted, interface))
    if path.suffix == ".npz":
        pack = read_inputs(path, hint="write it again, with an array per input of the model")
        if pack.source.startswith(MADE_UP):
            raise DataError(
                f"the samples of `{path}` are {pack.source}: they say nothing about real ranges",
                hint="give --calibration a data set, a folder of images, or real samples",
            )
        return Stored(arrays=pack.arrays, source=path.name)
    raise UsageError(
        f"--calibration `{wanted}` is neither a data set, nor a folder, nor a pack (.npz)",
        hint=f"data sets: {', '.join(DATASETS)}; your own is written package.module:Dataset",
    )


def _image_input(wanted: str, interface: Interface) -> str:
    if len(interface.input_names) != 1:
        raise UsageError(
            f"`{wanted}` holds images, the model has {len(interface.input_names)} inputs: "
            f"{', '.join(interface.input_names)}",
            hint="give --calibration a pack (.npz) with an array per input",
        )
    return interface.input_names[0]


def _read_folder(folder: Path, program: ExportedProgram, name: str) -> Stored:
    """Read images as RGB in 0 to 1, resized to what the model was captured at."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        packs = sorted(folder.glob("*.npz"))
        raise DataError(
            f"`{folder}` holds no image",
            hint=f"give --calibration {packs[0]}, or the name of a data set"
            if packs
            else f"it may hold files ending in {', '.join(SUFFIXES)}",
        )
    assert program.example_inputs is not None
    shape = tuple(program.example_inputs[0][0].shape)
    if len(shape) != 4 or shape[1] != 3:
        raise UsageError(
            f"a folder of images calibrates models of RGB images, this one takes {list(shape)}",
            hint="give --calibration a pack (.npz)",
        )
    images = []
    for index in spread(len(files), NUM_SAMPLES):
        try:
            with Image.open(files[index]) as image:
                small = image.convert("RGB").resize((shape[3], shape[2]), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"`{files[index]}` is no intact image: {reason}") from error
        images.append(np.asarray(small, dtype=np.float32).transpose(2, 0, 1) / np.float32(255))
    return Stored({name: np.stack(images)}, f"images of {folder.name}/")


def spread(num: int, most: int) -> list[int]:
    """Return at most ``most`` of the indices below ``num``, evenly."""
    return [int(i) for i in np.unique(np.linspace(0, num - 1, min(num, most)).round())]


def names_data_set(wanted: str) -> bool:
    """Tell whether ``--calibration`` means a data set, and not a file or folder."""
    return wanted in DATASETS or (is_foreign(wanted) and not Path(wanted).exists())


def _stack(images: list[Array], wanted: str) -> Array:
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise DataError(
            f"the images of `{wanted}` have different sizes: {sorted(shapes)[:2]}",
            hint="crop or resize them in the data set",
        )
    return np.stack(images)


def _check(found: Stored, program: ExportedProgram, interface: Interface, stored: Stored) -> None:
    assert program.example_inputs is not None
    for (name, shape), example in zip(
        input_shapes(program, interface).items(), program.example_inputs[0], strict=True
    ):
        array = found.arrays.get(name)
        what = f"calibration data ({found.source})"
        if array is None:
            raise DataError(
                f"{what} has no array `{name}`, got {', '.join(found.arrays) or 'none'}",
                hint="a pack holds one array per input of the model, under its name",
            )
        dtype = str(example.dtype).removeprefix("torch.")
        fits = len(shape) == array.ndim and all(
            isinstance(want, str) or want == have
            for want, have in zip(shape[1:], array.shape[1:], strict=True)
        )
        if not fits or str(array.dtype) != dtype:
            raise DataError(
                f"{what}: `{name}` is {array.dtype} {list(array.shape)}, the model takes {dtype} "
                f"[samples, {sizes_text(shape[1:])}]"
            )
        least = 1 if isinstance(shape[0], str) else shape[0]
        if len(array) < least:
            raise DataError(
                f"{what}: `{name}` holds {len(array)} samples, expected {least} or more"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{what}: `{name}` holds NaN or Inf")
        _check_range(what, name, array, stored)
    lengths = {len(found.arrays[name]) for name in interface.input_names}
    if len(lengths) > 1:
        raise DataError(f"{what}: the inputs have different numbers of samples: {sorted(lengths)}")


def _check_range(what: str, name: str, array: Array, stored: Stored) -> None:
    """Refuse images in 0 to 255 for a model that is known to take 0 to 1."""
    known = stored.arrays[name]
    is_unit = stored.source.startswith(REAL_IMAGES) and known.min() >= 0 and known.max() <= 1
    if is_unit and not (array.min() >= 0 and array.max() <= 1):
        raise DataError(
            f"{what}: `{name}` holds {array.min():.4g} to {array.max():.4g}, the model's own "
            "samples lie in 0 to 1",
            hint="scale the samples as in training",
        )
