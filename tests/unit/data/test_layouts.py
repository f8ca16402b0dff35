"""What a folder is, and what of it is missing."""

import shutil

import pytest
from nyuv2_layout import write_nyuv2

from compactmtl.data import DATASETS
from compactmtl.data.catalogue import CATALOGUE
from compactmtl.data.layouts import recognise
from compactmtl.errors import DataError, MissingFileError, UsageError


def make(place, files):
    """Make what a layout names: folders with something in them, and files."""
    for file in files:
        first = place / file.partition("|")[0]
        if file.endswith("/"):
            first.mkdir(parents=True)
        else:
            first.parent.mkdir(parents=True, exist_ok=True)
            first.touch()


def test_every_data_set_is_in_the_catalogue():
    assert set(CATALOGUE) == set(DATASETS)
    assert all(known.name == key for key, known in CATALOGUE.items())
    for name, known in CATALOGUE.items():
        assert known.folder == (DATASETS[name].folder or (name if known.files else ""))


ON_DISK = sorted(name for name, known in CATALOGUE.items() if known.files)


@pytest.mark.parametrize("name", ON_DISK)
def test_each_layout_is_recognised_and_told_from_all_others(tmp_path, name):
    known = CATALOGUE[name]
    place = tmp_path / known.folder
    make(place, known.files)
    for folder in (place, tmp_path):  # its own folder, and the one above
        (found,) = [f for f in recognise(folder) if not f.missing]
        assert (found.known.name, found.place) == (name, place.resolve())
        assert found.arguments()["root"] == str(tmp_path.resolve())


@pytest.mark.parametrize("name", [n for n in ON_DISK if len(CATALOGUE[n].files) > 1])
def test_what_is_missing_is_named_one_by_one(tmp_path, name):
    known = CATALOGUE[name]
    for gone in known.files:
        place = tmp_path / gone.replace("/", "_").replace("|", "_") / known.folder
        make(place, [file for file in known.files if file != gone])
        (found,) = [f for f in recognise(place, name) if f.known.name == name]
        assert found.missing == (gone,)


def test_a_folder_may_be_called_anything_only_where_the_data_set_can_be_told(tmp_path):
    make(tmp_path / "mine", CATALOGUE["nyuv2"].files)
    (found,) = recognise(tmp_path / "mine")
    assert found.arguments() == {"root": str(tmp_path.resolve()), "folder": "mine"}
    make(tmp_path / "pictures", CATALOGUE["cifar100"].files)
    (found,) = recognise(tmp_path / "pictures")
    with pytest.raises(UsageError, match="cifar-100-python"):
        found.arguments()


def test_several_data_sets_in_one_folder_are_all_found(tmp_path):
    write_nyuv2(tmp_path)
    make(tmp_path / "nuclei_128", CATALOGUE["nuclei_128"].files)
    assert {f.known.name for f in recognise(tmp_path)} == {"nyuv2", "nuclei_128"}
    shutil.rmtree(tmp_path / "nyuv2" / "val")
    (found,) = [f for f in recognise(tmp_path) if f.known.name == "nyuv2"]
    assert "val/depth/" in found.missing


def test_what_is_no_data_set_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match="nothing"):
        recognise(tmp_path)
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(DataError, match=r"holiday\.jpg"):
        recognise(tmp_path)
    with pytest.raises(DataError, match="nothing of nyuv2"):
        recognise(tmp_path, "nyuv2")
    with pytest.raises(UsageError, match="did you mean `nyuv2`"):
        recognise(tmp_path, "nyu2")
    with pytest.raises(UsageError, match="needs no folder"):
        recognise(tmp_path, "rooms")
    with pytest.raises(MissingFileError, match="gone"):
        recognise(tmp_path / "gone")
