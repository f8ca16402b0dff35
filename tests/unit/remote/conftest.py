import pytest
from local_board import has_ssh, local_board


@pytest.fixture
def board(tmp_path, monkeypatch):
    if not has_ssh():
        pytest.skip("there is no ssh client on this machine")
    with local_board(tmp_path / "board", monkeypatch) as started:
        yield started
