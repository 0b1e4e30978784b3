"""Settings of the store: durations and sizes with units, and a password that no error and no child's list shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.launch.storing import open_store
from rushes.settings import SettingsError, load
from rushes.store.interface import StoreUnavailable


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RETENTION", "MAX_SIZE", "STORE", "STORE_PASSWORD", "STORE_PASSWORD_FILE"):
        monkeypatch.delenv(f"RUSHES_{name}", raising=False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7d", 604_800), ("36h", 129_600), ("90 m", 5400), ("2W", 1_209_600), ("1s", 1)]
)
def test_retention_has_a_unit(text: str, seconds: int) -> None:
    settings = load(retention=text)
    assert settings.retention == seconds
    dumped = settings.model_dump(mode="json")["retention"]
    assert load(retention=dumped).retention == seconds, "as a child process reads it"


@pytest.mark.parametrize("text", ["7", "0d", "-1d", "d", "1.5d", "seven days"])
def test_a_retention_that_wont_do_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"retention: must be a number with a unit, such as 7d.*got"):
        load(retention=text)


def test_the_size_is_limited_in_the_data_folder_and_not_in_a_database_of_others() -> None:
    assert load().max_bytes == 10 << 30
    assert load(max_size="500 MiB").max_bytes == 500 << 20
    assert load(max_size="0").max_bytes is None
    assert load(store="clickhouse://host").max_bytes is None
    assert load(store="clickhouse://host", max_size="1GB").max_bytes == 10**9
    with pytest.raises(SettingsError, match=r"max_size: .*got 'much'"):
        load(max_size="much")


def test_the_stores_password_is_in_no_error_no_repr_and_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSHES_STORE_PASSWORD", "s3cret-canary")
    settings = load(store="clickhouse://me@127.0.0.1:1/x")
    assert "canary" not in f"{settings!r}{settings.model_dump(mode='json')}"
    with pytest.raises(SettingsError) as caught:
        load(port=-1)
    assert "canary" not in str(caught.value)
    with pytest.raises(StoreUnavailable) as unavailable:
        open_store(settings)
    assert "canary" not in str(unavailable.value)
    with pytest.raises(ValueError, match="RUSHES_STORE_PASSWORD") as refused:
        open_store(load(store="clickhouse://me:canary@127.0.0.1:1/x"))
    assert "canary" not in str(refused.value)
    with pytest.raises(SettingsError) as wrong:
        load(store=["canary"])
    assert "canary" not in str(wrong.value)


def test_a_password_file_that_cant_be_read_is_named(tmp_path: Path) -> None:
    settings = load(store="clickhouse://me@127.0.0.1:1/x", store_password_file=tmp_path / "none")
    with pytest.raises(StoreUnavailable, match=r"the store's password can't be read: .*none"):
        open_store(settings)
