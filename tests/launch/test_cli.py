"""The command line: what each command says, and what it says when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rushes.catalog import METRICS
from rushes.cli import app


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {"RUSHES_DATA_DIR": str(tmp_path / "data"), "RUSHES_CONFIG_DIR": str(tmp_path / "config")}


def _run(env: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    done = CliRunner(env=env).invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_help_names_every_command(env: dict[str, str]) -> None:
    code, out, _ = _run(env, "--help")
    assert code == 0
    for command in ("up", "server", "gateway", "worker", "generate", "catalog", "doctor"):
        assert command in out


def test_the_catalog_for_people_and_for_scripts(env: dict[str, str]) -> None:
    code, out, _ = _run(env, "catalog")
    assert code == 0
    assert "counter   checkpoint_recovery_count{tier,model}" in out
    code, out, _ = _run(env, "catalog", "--json")
    assert {d["name"] for d in json.loads(out)} == set(METRICS)
    code, _, err = _run(env, "catalog", "dashboards")
    assert code == 2
    assert "no list of 'dashboards'" in err


def test_generate_without_a_platform_says_what_to_do(env: dict[str, str]) -> None:
    code, _, err = _run(env, "generate", "a red ball")
    assert code == 1
    assert "rushes up" in err
    assert "Traceback" not in err


def test_a_wrong_setting_is_named(env: dict[str, str]) -> None:
    code, _, err = _run(env, "up", "--port", "70000")
    assert code == 2
    assert "port" in err
    assert "70000" in err
    code, _, err = _run({**env, "RUSHES_HOST": "0.0.0.0"}, "up")
    assert code == 2
    assert "RUSHES_TOKEN" in err


def test_a_broken_settings_file_and_an_unknown_setting(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "rushes.toml").write_text("port = \n")
    code, _, err = _run(env, "doctor")
    assert (code, "rushes.toml" in err, "Traceback" in err) == (2, True, False)
    (tmp_path / "rushes.toml").write_text("prot = 1\n")
    code, _, err = _run(env, "doctor")
    assert (code, "prot" in err) == (2, True)
    (tmp_path / "rushes.toml").write_text('[weights]\nMOCHI = "/x"\n')
    code, _, err = _run(env, "up")
    assert code == 2
    assert "no model 'MOCHI'" in err
    assert "MOCHI1" in err


def test_folders_that_can_not_be_used_are_said_in_a_line(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = {
        "RUSHES_DATA_DIR": str(tmp_path / "file" / "x"),
        "RUSHES_CONFIG_DIR": str(tmp_path / "file" / "y"),
    }
    for command in (("worker", "--id", "w-0"), ("gateway",)):
        code, _, err = _run({**env, **broken, "RUSHES_GATEWAY_PORT": "0"}, *command)
        assert (code, "can't be used" in err, "Traceback" in err) == (1, True, False), err
    done = _run(
        env,
        "generate",
        "x",
        "--gateway",
        "http://127.0.0.1:1",
        "--api-key",
        "k",
        "--out-dir",
        str(tmp_path / "file" / "z"),
    )
    assert (done[0], "--out-dir" in done[2]) == (1, True)


def test_a_gateway_elsewhere_that_does_not_answer(env: dict[str, str]) -> None:
    code, _, err = _run(env, "generate", "x", "--gateway", "http://127.0.0.1:1", "--api-key", "k")
    assert code == 1
    assert "http://127.0.0.1:1 does not answer" in err


def test_a_gateway_elsewhere_needs_its_key(env: dict[str, str]) -> None:
    code, _, err = _run(env, "generate", "x", "--gateway", "http://127.0.0.1:1")
    assert (code, "--api-key" in err, "--no-studio" in err) == (1, True, False)


def test_a_wrong_role_and_a_wrong_worker_id(env: dict[str, str]) -> None:
    code, _, err = _run(env, "worker", "--role", "paint")
    assert (code, "encode, generate, all" in err) == (2, True)


def test_a_data_folder_that_can_not_be(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = _run({**env, "RUSHES_DATA_DIR": str(tmp_path / "file" / "data")}, "up", "--port", "0",
                        "--gateway-port", "0", "--otlp-http-port", "0", "--otlp-grpc-port", "0")  # fmt: skip
    assert code == 1
    assert "--data-dir" in err


def test_doctor_tries_everything(env: dict[str, str]) -> None:
    ports = {f"RUSHES_{n}": "0" for n in ("PORT", "GATEWAY_PORT", "OTLP_HTTP_PORT", "OTLP_GRPC_PORT")}
    code, out, _ = _run({**env, **ports}, "doctor")
    assert code == 0
    for what in ("chdb", "data folder", "free disk", "--port", "device", "encoder", "MOCHI1"):
        assert what in out
    assert "VEO3               not available: it is Google's API" in out
    account = {"RUSHES_VEO__API_KEY": "AIzaCanary0123456789", "RUSHES_VEO__VERTEX": "true"}
    code, out, err = _run({**env, **ports, **account}, "doctor")
    assert code == 0
    assert "by Vertex AI, with an API key (not tried: it costs)" in out
    assert "Canary" not in out + err
    code, out, _ = _run({**env, **ports, "RUSHES_WEIGHTS": '{"LTX2": "/no/such/folder"}'}, "doctor")
    assert code == 1
    assert "/no/such/folder" in out
