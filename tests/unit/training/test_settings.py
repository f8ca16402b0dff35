"""What a recipe's settings mean together: refused, said, or known to fit."""

import pytest

from compactmtl.errors import PartError, RecipeError
from compactmtl.training.settings import check_settings, frobenius_of, iterative_mode


@pytest.mark.parametrize(
    ("overparam", "words"),
    [
        ({"method": "fnl", "m_lr": 0.1}, ["overparam.m_lr has no effect: method `fnl` has no"]),
        ({"method": "umv", "m_lr": 0.1, "subset": 0.1, "frobenius": 0.1}, []),
        ({"method": "umv", "iterative": "none", "subset": 0.1}, ["iterative is `none`"]),
        ({"method": "repvgg", "frobenius": 0.0}, ["overparam.frobenius has no effect: method `re"]),
        ({"method": "repvgg", "subset": 0.1, "m_lr": 1.0}, ["overparam.subset", "overparam.m_lr"]),
        ({"method": "repvgg"}, []),
        ({"method": "doconv", "frobenius": 1e-3}, []),
    ],
)
def test_settings_without_an_effect_are_said(make_recipe, overparam, words):
    notes = check_settings(make_recipe(overparam=overparam))
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert word in note


@pytest.mark.parametrize(
    ("sections", "error", "words"),
    [
        ({"overparam": {"method": "umvv"}}, PartError, "did you mean `umv`"),
        ({"overparam": {"method": "os:path"}}, PartError, "expected a class or function"),
        ({"weighting": {"name": "dwaa"}}, PartError, "did you mean `dwa`"),
        ({"weighting": {"name": "dwa", "args": {"temperature": 0}}}, RecipeError, "temperature"),
        ({"overparam": {"method": "fnl", "iterative": "subset"}}, RecipeError, "no factors that"),
        (
            {"overparam": {"iterative": "minibatch"}, "train": {"compile": True}},
            RecipeError,
            "train.compile does not go with overparam.iterative",
        ),
    ],
)
def test_contradictions_are_refused_before_a_folder_is_made(
    train, tmp_path, sections, error, words
):
    with pytest.raises(error, match=words):
        train(**sections)
    assert not (tmp_path / "runs").exists()


def test_what_is_left_out_takes_the_papers_values(make_recipe):
    section = make_recipe(overparam={}).overparam
    assert frobenius_of(section) == 1e-4
    assert iterative_mode(section) == "subset"
    assert iterative_mode(None) == "none"
