"""Where data sets lie."""

import pytest

from compactmtl.data.folder import data_folder
from compactmtl.errors import DataError


def test_override_goes_before_the_environment(monkeypatch, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.setenv("COMPACTMTL_DATA", str(tmp_path / "a"))
    assert data_folder(None) == tmp_path / "a"
    assert data_folder(str(tmp_path / "b")) == tmp_path / "b"


def test_no_folder_named_is_a_data_error_with_a_hint(monkeypatch):
    monkeypatch.delenv("COMPACTMTL_DATA", raising=False)
    with pytest.raises(DataError) as caught:
        data_folder(None)
    assert "COMPACTMTL_DATA" in caught.value.hint


def test_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPACTMTL_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="gone"):
        data_folder(None)
