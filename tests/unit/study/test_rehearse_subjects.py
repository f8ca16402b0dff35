"""What a study finds out before its first run."""

import pytest

from compactmtl.compiler.predict import macs_left
from compactmtl.errors import (
    MissingFileError,
    NotPossibleHereError,
    PatternError,
    RecipeError,
    UsageError,
)
from compactmtl.study import rehearsal
from compactmtl.study.rehearsal import rehearse_subjects
from compactmtl.study.subjects import parse_subjects
from compactmtl.training.assemble import load_split

SMALL = (
    "data.args={num_images=16, num_eval_images=8, height=16, width=16}", "data.num_workers=0",
    "model.name=segnet_s", "model.args={widths=[4, 4]}", "data.batch_size=8",
)  # fmt: skip


def subjects_of(*texts):
    return parse_subjects(list(texts), SMALL)


@pytest.mark.parametrize(
    ("recipe", "error", "words"),
    [
        ("rooms-dense+model.args={widhts=[4]}", RecipeError, "did you mean `widths`"),
        ("rooms-dense+model.args={widths=[4,4,4,4,4]}", UsageError, "fails on the first batch"),
        ("rooms-dense+data.args={num_imgs=16}", RecipeError, "num_imgs"),
        (
            "rooms-dense+data.args={num_images=16,num_eval_images=8,height=16,width=16,seed=-1}",
            UsageError,
            "seed",
        ),
        ("rooms-sparse+sparsity.layers=['decoder.*']", PatternError, "decoder.*"),
        ("rooms-fac+overparam.layers=['decoder.*']", PatternError, "decoder.*"),
        ("rooms-dense+train.init=nowhere.pt", MissingFileError, "nowhere.pt"),
        ("rooms-dense+train.distill=0.1", RecipeError, "train.init"),
    ],
)
def test_what_a_later_recipe_is_refused_for_is_found_first_and_says_whose(recipe, error, words):
    subjects = subjects_of("rooms-dense", f"second={recipe}")
    passed = []
    with pytest.raises(error) as caught:
        rehearse_subjects(subjects, device="cpu", on_done=lambda: passed.append(1))
    assert caught.value.message.startswith("second: ")
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert len(passed) == 1


def test_a_target_of_cost_is_rehearsed_with_what_it_is_measured_by():
    target = "rooms-sparse+sparsity={target_macs=%s, stop=0.5}"
    reached, lost = (f"a={target % share}" for share in (0.5, 0.001))
    passed = []
    rehearse_subjects(
        subjects_of("rooms-dense", reached), device="cpu", on_done=lambda: passed.append(1),
        cost_of=lambda recipe: macs_left if recipe.sparsity else None,
    )  # fmt: skip
    assert len(passed) == 2
    with pytest.raises(RecipeError, match=r"a: a cost of 0\.001 cannot be reached"):
        rehearse_subjects(
            subjects_of("rooms-dense", lost), device="cpu", cost_of=lambda recipe: macs_left
        )


def test_a_device_that_is_not_here_is_found():
    with pytest.raises(NotPossibleHereError, match="cuda:7"):
        rehearse_subjects(subjects_of("rooms-dense", "rooms-fac"), device="cuda:7")


def test_runs_that_are_still_to_come_are_not_asked_for_and_data_are_read_once(monkeypatch):
    read = []

    def counted(recipe, split, reporter):
        read.append(split)
        return load_split(recipe, split, reporter)

    monkeypatch.setattr(rehearsal, "load_split", counted)
    subjects = subjects_of(
        "rooms-dense", "rooms-fac", "rooms-sparse", "tuned=rooms-sparse+train.init=@rooms-dense"
        "+train.distill=0.1",
    )  # fmt: skip
    found = rehearse_subjects(subjects, device="cpu")
    assert list(found) == [each.label for each in subjects]
    assert read == ["train", "val", "test"]
