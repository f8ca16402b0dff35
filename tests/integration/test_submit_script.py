"""`examples/submit.sbatch` with stand-ins for Slurm's commands; never run on a Slurm cluster."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import compactmtl
from compactmtl.checkpoint import load_checkpoint
from compactmtl.files import read_json

ROOT = Path(__file__).parents[2]
SRUN = """
trap 'kill -USR1 $pids' USR1
for id in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$id SLURM_LOCALID=$id "$@" &
    pids="$pids $!"
done
worst=0
for pid in $pids; do
    wait $pid; code=$?
    while [ $code -gt 128 ]; do wait $pid; code=$?; done  # it was the trap that ended the wait
    [ $code -gt $worst ] && worst=$code
done
exit $worst
"""
SCONTROL = 'case "$1" in show) echo localhost;; *) echo "$@" >> scontrol.txt;; esac\n'
FAKE = 'echo "$RANK/$WORLD_SIZE $*" >> typed.txt; exec bash -c "$DO"\n'


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Put the stand-ins into PATH; return a function that starts the job."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("compactmtl", FAKE)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}")
        path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name, value in {"JOB_ID": "41", "NTASKS": "2", "NNODES": "1", "JOB_NODELIST": "n1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)

    def start(*given: str, restarts: int = 0, do: str = "true") -> subprocess.Popen:
        return subprocess.Popen(
            ["bash", ROOT / "examples/submit.sbatch", *given],
            env=os.environ | {"SLURM_RESTART_COUNT": str(restarts), "DO": do},
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def finish(job: subprocess.Popen) -> int:
    job.communicate()
    return job.returncode


def lines(path: str) -> list[str]:
    return sorted(Path(path).read_text().splitlines()) if Path(path).exists() else []


def test_a_new_job_starts_a_run_of_its_own_in_every_task(slurm):
    assert finish(slurm("mine.toml", "--set", 'train.checkpoint_every="10 minutes"')) == 0
    typed = 'train mine.toml --set train.checkpoint_every="10 minutes" --run-dir runs/job-41-0'
    assert lines("typed.txt") == [f"0/2 {typed}", f"1/2 {typed}"]
    assert lines("scontrol.txt") == []


def test_what_a_signal_stopped_is_queued_again_and_goes_on(slurm):
    saved = "mkdir -p runs/job-41-0; touch runs/job-41-0/ckpt.pt; exit 75"
    assert finish(slurm("mine.toml", do=saved)) == 75
    assert lines("scontrol.txt") == ["requeue 41"]
    Path("typed.txt").unlink()
    assert finish(slurm("mine.toml", restarts=1)) == 0
    assert lines("typed.txt") == [f"{rank}/2 train --resume runs/job-41-0" for rank in (0, 1)]
    assert lines("scontrol.txt") == ["requeue 41"]


def test_a_run_that_was_lost_before_it_saved_starts_in_another_folder(slurm):
    Path("runs/job-41-0").mkdir(parents=True)
    assert finish(slurm("mine.toml", restarts=1)) == 0
    assert lines("typed.txt")[0] == "0/2 train mine.toml --run-dir runs/job-41-1"


def test_a_run_that_failed_is_not_queued_again(slurm):
    assert finish(slurm("mine.toml", do="exit 13")) == 13
    assert lines("scontrol.txt") == []


@pytest.mark.slow
def test_two_tasks_train_stop_and_go_on(slurm, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(compactmtl.__file__).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    real = f'#!/bin/bash\nexec {sys.executable} -m compactmtl "$@"\n'
    Path("bin/compactmtl").write_text(real)
    small = [f"--set=data.args.{k}" for k in ("num_images=8", "num_eval_images=2", "height=32")]
    command = ["rooms-smoke", *small, "--set=data.args.width=48", "--device", "cpu"]
    run = Path("runs/job-41-0")
    with slurm(*command, "--set=train.epochs=60") as job:
        deadline = time.monotonic() + 200
        while not (run / "ckpt.pt").is_file():
            assert job.poll() is None, job.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # As Slurm does, to the step's processes alone: srun hands it on to its tasks.
        srun = subprocess.check_output(["pgrep", "-P", str(job.pid), "-f", "srun"], text=True)
        os.kill(int(srun.split()[0]), signal.SIGUSR1)
        _, errors = job.communicate(timeout=200)
    assert job.returncode == 75, errors
    assert errors.count("stopped by SIGUSR1") == 1
    assert lines("scontrol.txt") == ["requeue 41"]
    assert load_checkpoint(run / "ckpt.pt").position["step"] > 0
    with slurm(*command, restarts=1) as job:
        _, errors = job.communicate(timeout=400)
    assert job.returncode == 0, errors
    assert read_json(run / "run.json")["status"] == "finished"
