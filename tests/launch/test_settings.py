"""Settings: flags over variables over rushes.toml, and a clear word for what can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.settings import SettingsError, load


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "HOST", "TOKEN", "WEIGHTS", "DATA_DIR"):
        monkeypatch.delenv(f"RUSHES_{name}", raising=False)


def test_flags_beat_variables_beat_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().port == 8400
    (tmp_path / "rushes.toml").write_text("port = 1111\nworkers = 3\n[weights]\nmochi1 = 'w'\n")
    assert load().port == 1111
    monkeypatch.setenv("RUSHES_PORT", "2222")
    assert load().port == 2222
    assert load(port=3333).port == 3333
    assert load(port=None).workers == 3
    assert load().weights == {"MOCHI1": tmp_path / "w"}


def test_a_wrong_value_is_named_with_its_setting() -> None:
    with pytest.raises(SettingsError, match=r"port: .*70000"):
        load(port=70000)


def test_an_address_that_others_can_reach_needs_a_token() -> None:
    with pytest.raises(SettingsError, match=r"host 0\.0\.0\.0 can be reached"):
        load(host="0.0.0.0")
    assert load(host="0.0.0.0", token="s3cret").host == "0.0.0.0"
    assert load(host="::1").host == "::1"


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_none(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSHES_TOKEN", token)
    assert load().token is None
    with pytest.raises(SettingsError, match="no token is set"):
        load(host="0.0.0.0")


def test_the_setting_that_an_error_names_exists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUSHES_WEIGHTS__MOCHI1", str(tmp_path))
    assert load().weights == {"MOCHI1": tmp_path}


def test_the_token_is_in_no_error_and_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSHES_TOKEN", "s3cret-canary")
    assert "canary" not in repr(load())
    with pytest.raises(SettingsError) as caught:
        load(port=-1)
    assert "canary" not in str(caught.value)
