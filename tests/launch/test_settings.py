"""Settings: flags over variables over rushes.toml, and a clear word for what can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from rushes.settings import SettingsError, load
from rushes.studio.jobs import POLICIES, TierPolicy
from rushes.studio.policies import tier_policies


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PORT", "HOST", "TOKEN", "WEIGHTS", "DATA_DIR", "VEO", "COST"):
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


def test_scratch_is_in_the_data_folder_or_where_all_machines_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(data_dir=tmp_path / "data").scratch_dir == tmp_path / "data" / "scratch"
    monkeypatch.setenv("RUSHES_SCRATCH", "shared")
    assert load(data_dir=tmp_path / "data").scratch_dir == tmp_path / "shared"


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


def test_how_long_prompts_are_kept_is_a_time_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().keep_prompts is None
    monkeypatch.setenv("RUSHES_KEEP_PROMPTS", "30d")
    settings = load()
    assert settings.keep_prompts == 30 * 86_400
    assert settings.model_dump(mode="json")["keep_prompts"] == "2592000s"  # as children are told it
    monkeypatch.setenv("RUSHES_KEEP_PROMPTS", "forever")
    with pytest.raises(SettingsError, match="keep_prompts: must be a number with a unit"):
        load()


def test_prices_come_from_variables_or_the_file_and_are_never_negative(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load().cost.credit_usd is None
    (tmp_path / "rushes.toml").write_text("[cost]\ncredit_usd = 0.02\n[cost.gpu_usd_per_hour]\nH100 = 2.5\n")
    monkeypatch.setenv("RUSHES_COST__CPU_USD_PER_HOUR", "0.4")
    cost = load().cost
    assert (cost.credit_usd, cost.cpu_usd_per_hour, cost.provider_usd_per_second) == (0.02, 0.4, None)
    assert cost.of_gpu("NVIDIA H100 80GB HBM3") == 2.5
    for wrong in ("-1", "nan", "inf"):
        monkeypatch.setenv("RUSHES_COST__CREDIT_USD", wrong)
        with pytest.raises(SettingsError, match=rf"cost.credit_usd: .*got '{wrong}'"):
            load()


def test_googles_key_comes_from_variables_or_the_file_and_is_in_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not load().veo.configured
    (tmp_path / "rushes.toml").write_text("[veo]\nmodel = 'veo-9'\napi_key = 'canary-in-the-file'\n")
    assert load().veo.configured
    monkeypatch.setenv("RUSHES_VEO__API_KEY", "canary-key")
    veo = load().veo
    assert veo.api_key is not None
    assert (veo.api_key.get_secret_value(), veo.model, veo.on_vertex) == ("canary-key", "veo-9", False)
    assert "canary" not in repr(load())
    monkeypatch.setenv("RUSHES_VEO__PROJECT", "my-project")
    with pytest.raises(SettingsError, match="veo: an API key and a project are two ways in") as caught:
        load()
    assert "canary" not in str(caught.value)
    monkeypatch.setenv("RUSHES_VEO__API_KEY", " ")
    assert load().veo.on_vertex
    monkeypatch.setenv("RUSHES_VEO__POLL_S", "0")
    with pytest.raises(SettingsError, match=r"veo.poll_s: .*got '0'"):
        load()


def test_tiers_come_from_the_environment_and_keep_what_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUSHES_TIERS__FREE__MAX_QUEUED", "200")
    monkeypatch.setenv("RUSHES_TIERS__PREMIUM__WEIGHT", "16")
    policies = tier_policies(load())
    assert policies["free"] == TierPolicy(weight=1, max_queued=200)
    assert policies["premium"] == TierPolicy(weight=16)
    assert policies["standard"] == POLICIES["standard"]


@pytest.mark.parametrize(
    ("tiers", "told"),
    [
        ({"realtime": {"weight": 2}}, "realtime goes before all other tiers"),
        ({"gold": {"weight": 2}}, "'realtime', 'premium', 'standard' or 'free'"),
        ({"free": {"weight": 0}}, "greater than 0"),
        ({"free": {"max_runing": 1}}, "max_runing"),
    ],
)
def test_a_tier_that_means_nothing_is_refused(tiers: dict[str, dict[str, float]], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(tiers=tiers)


def test_prices_are_known_by_their_models_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rushes.toml").write_text("[prices]\nMOCHI1 = 3\n")
    monkeypatch.setenv("RUSHES_PRICES__LTX2", "5")
    assert load().prices == {"MOCHI1": 3, "LTX2": 5}
    with pytest.raises(SettingsError, match=r"no model 'LTX3'; there are .*LTX2"):
        load(prices={"LTX3": 5})
    with pytest.raises(SettingsError, match=r"prices\.LTX2: .*greater than or equal to 0"):
        load(prices={"LTX2": -5})


@pytest.mark.parametrize("name", ["warm_patience_s", "model_memory_gib", "webhooks_give_up_s"])
def test_what_is_reckoned_in_whole_numbers_is_finite(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: .*finite"):
        load(**{name: "inf"})
