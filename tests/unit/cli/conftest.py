import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from compactmtl.cli import app

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_debugging(monkeypatch):
    monkeypatch.delenv("COMPACTMTL_DEBUG", raising=False)


@pytest.fixture
def verb(monkeypatch):
    """Install a verb `trial` that calls the given function."""

    def install(body):
        def trial(*, json: app.Json = False, quiet: app.Quiet = False, debug: app.Debug = False):
            """Try."""
            return body()

        module = ModuleType("compactmtl.cli.trial")
        module.trial = trial
        monkeypatch.setitem(sys.modules, "compactmtl.cli.trial", module)
        monkeypatch.setitem(app.VERBS, "trial", "Try.")

    return install


@pytest.fixture
def program():
    """Run the program in a process of its own."""

    def run(*args, code=None, **options):
        command = ["-c", code] if code else ["-m", "compactmtl", *args]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
        return subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
            check=False,
            **options,
        )

    return run
