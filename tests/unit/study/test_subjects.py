import pytest

from compactmtl.errors import PartError, RecipeError, UsageError
from compactmtl.study.subjects import parse_subject, parse_subjects


def test_label_recipe_and_settings():
    subject = parse_subject("fnl=rooms-fac+overparam.method=fnl+train.epochs=3", ("train.lr=0.1",))
    assert subject.label == "fnl"
    assert (subject.recipe.overparam.method, subject.recipe.train.epochs) == ("fnl", 3)
    assert subject.recipe.train.lr == 0.1


def test_a_label_is_made_where_none_is_given(tmp_path):
    assert parse_subject("rooms-dense").label == "rooms-dense"
    assert parse_subject("rooms-fac+overparam.method=fnl").label == "rooms-fac-fnl"
    path = tmp_path / "mine.toml"
    path.write_text('name = "m"\n[model]\nname = "segnet"\n[data]\nname = "rooms"\n[tasks.seg]\n')
    assert parse_subject(str(path)).label == "mine"


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["rooms-dense"], UsageError, "needs two recipes"),
        (["rooms-dense", "rooms-dense"], UsageError, "two subjects are called"),
        (["rooms-dense", "nuclei-dense"], UsageError, "nothing to pair"),
        (["rooms-dense", "rooms-fac+nothing"], UsageError, "is no setting"),
        (["rooms-dense", "a/b=rooms-fac"], UsageError, "cannot be the name of a folder"),
        (["rooms-dense", "rooms-facs"], PartError, "did you mean"),
        (["rooms-dense", "rooms-fac+overparam.methode=x"], RecipeError, "unknown key"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(texts, error, message):
    with pytest.raises(error, match=message):
        parse_subjects(texts)
