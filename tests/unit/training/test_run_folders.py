"""Run folders: never reused, listed whatever their state."""

import pytest

from compactmtl.errors import MissingFileError, StoppedError, UsageError, WriteError
from compactmtl.files import read_json
from compactmtl.training.logs import write_logs
from compactmtl.training.run import (
    create_run,
    list_runs,
    noted,
    open_or_create,
    open_run,
    open_to_resume,
    read_recipe,
)


def test_runs_of_one_second_get_different_folders(make_recipe, tmp_path):
    recipe = make_recipe(seed=3)
    folders = {create_run(recipe, tmp_path).folder for _ in range(4)}
    assert len(folders) == 4
    assert all(folder.name.startswith("blobs-") and "-3" in folder.name for folder in folders)
    for folder in folders:
        assert read_json(folder / "run.json")["status"] == "running"


def test_a_named_folder_must_be_new_or_empty(make_recipe, tmp_path):
    (tmp_path / "mine").mkdir()
    run = create_run(make_recipe(), tmp_path, tmp_path / "mine")
    assert run.folder == tmp_path / "mine"
    with pytest.raises(UsageError, match="is not empty") as caught:
        create_run(make_recipe(), tmp_path, tmp_path / "mine")
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("named", [False, True])
def test_a_folder_that_cannot_be_made_is_one_line(make_recipe, tmp_path, named):
    (tmp_path / "file").touch()  # root may write anywhere, but not below a file
    place = tmp_path / "file"
    with pytest.raises(WriteError, match="cannot write"):
        create_run(make_recipe(), place, place / "run" if named else None)


def test_the_recipe_in_the_folder_is_the_one_given(make_recipe, tmp_path):
    recipe = make_recipe(overparam={"until": 0.5}, check={"margin": 0.3})
    assert read_recipe(create_run(recipe, tmp_path)) == recipe


def test_there_is_nothing_to_resume_without_a_checkpoint(make_recipe, tmp_path):
    folder = create_run(make_recipe(), tmp_path).folder
    with pytest.raises(MissingFileError, match=r"has no ckpt\.pt"):
        open_run(folder)
    with pytest.raises(MissingFileError, match="no such run"):
        open_run(tmp_path / "none")
    with pytest.raises(UsageError, match="resume without run_dir"):
        open_or_create(make_recipe(), tmp_path, None, resume=True)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (StoppedError("saved"), "interrupted"),
        (RuntimeError("boom"), "failed"),
    ],
)
def test_how_a_run_ended_is_noted(make_recipe, tmp_path, error, status):
    run = create_run(make_recipe(), tmp_path)
    write_logs(run.folder, [])  # training began
    with pytest.raises(type(error)), noted(run):
        raise error
    document = read_json(run.folder / "run.json")
    assert document["status"] == status
    assert document.get("error") == ("boom" if status == "failed" else None)
    assert document["finished"] >= document["started"]


def test_a_mistake_in_the_call_leaves_no_folder_unless_there_is_a_checkpoint(make_recipe, tmp_path):
    for keep in (False, True):
        run = create_run(make_recipe(), tmp_path)
        if keep:
            run.checkpoint.touch()
        with pytest.raises(UsageError), noted(run):
            raise UsageError("wrong")
        assert run.folder.exists() is keep


def test_list_runs_is_latest_first_and_survives_a_damaged_one(make_recipe, tmp_path):
    old, new = (create_run(make_recipe(seed=seed), tmp_path) for seed in (1, 2))
    old.update(started="2020-01-01T00:00:00+00:00")
    counts = {"zero_groups": 1, "num_groups": 4}
    write_logs(new.folder, [{"epoch": 1, "val": {"seg": {"miou": 0.5}}, "sparsity": counts}])
    new.finish("finished")
    broken = create_run(make_recipe(seed=3), tmp_path)
    (broken.folder / "run.json").write_text("{", encoding="utf-8")
    (tmp_path / "something else").mkdir()
    runs = list_runs(tmp_path)
    assert [run.status for run in runs] == ["finished", "running", "unreadable"]
    assert (runs[0].seed, runs[0].epoch, runs[0].metrics) == (2, 1, {"seg": {"miou": 0.5}})
    assert runs[0].sparsity == counts
    assert (runs[1].epoch, runs[1].metrics, runs[1].sparsity) == (0, {}, {})
    with pytest.raises(MissingFileError, match="no such folder"):
        list_runs(tmp_path / "none")


def test_a_run_with_parts_of_its_own_is_not_resumed_by_its_recipe(make_recipe, tmp_path):
    run = create_run(make_recipe(), tmp_path, tmp_path / "own", ["model", "tasks"])
    run.checkpoint.touch()
    with pytest.raises(UsageError, match="started with its own model, tasks") as caught:
        open_to_resume(run.folder)
    assert f"--finetune-run {run.folder}" in caught.value.hint
    plain = create_run(make_recipe(), tmp_path, tmp_path / "plain")
    plain.checkpoint.touch()
    assert open_to_resume(plain.folder).folder == plain.folder


def test_a_process_that_is_not_the_first_writes_nothing(make_recipe, tmp_path):
    run = open_or_create(make_recipe(), tmp_path, None, resume=False, writes=False)
    run.go_on()
    run.finish("finished")
    run.discard()
    assert list(tmp_path.iterdir()) == []


def test_going_on_clears_away_what_a_kill_left_half_written(make_recipe, tmp_path):
    run = create_run(make_recipe(), tmp_path, tmp_path / "run")
    for name in (".ckpt.pt.abc.pt", "ckpt.pt", "best.pt", ".other"):
        (run.folder / name).touch()
    run.go_on()
    kept = {path.name for path in run.folder.iterdir()}
    assert kept == {"ckpt.pt", "best.pt", ".other", "recipe.toml", "run.json"}
