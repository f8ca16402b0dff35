import getpass
import json
import platform
import subprocess
import sys
from pathlib import Path

from compactmtl.environment import environment, version


def test_it_is_json_and_says_the_versions():
    document = environment()
    json.dumps(document, allow_nan=False)
    assert document["python"] == platform.python_version()
    assert document["packages"]["numpy"] == version("numpy") is not None
    assert document["cores"] >= document["usable_cores"] >= 1
    assert document["cpu"]


def test_it_names_no_one_and_no_place(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    text = json.dumps(environment())
    assert '"OMP_NUM_THREADS": "3"' in text
    for secret in (platform.node(), str(Path.home()), str(Path.cwd())):
        assert len(secret) < 3 or secret not in text
    assert f'"{getpass.getuser()}"' not in text


def test_a_package_that_is_not_there_is_none():
    assert version("no-such-distribution-anywhere") is None


def test_torch_is_not_imported():
    code = "import sys, compactmtl.environment as e; e.environment(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
