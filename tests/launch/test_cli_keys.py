"""`rushes keys`: what each command does to the database, prints, and says when something is wrong."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rushes.cli import app
from rushes.studio.jobs import open_database
from rushes.studio.keys import KeyStore


class Shell:
    """Runs commands against one data folder."""

    def __init__(self, folder: Path) -> None:
        self.env = {"RUSHES_DATA_DIR": str(folder / "data"), "RUSHES_CONFIG_DIR": str(folder / "config")}
        self.engine = open_database(f"sqlite:///{folder}/data/studio.db")
        self.store = KeyStore(self.engine)

    def __call__(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        done = CliRunner(env=self.env | env).invoke(app, ["keys", *arguments])
        return done.exit_code, done.stdout, done.stderr

    def good(self, *arguments: str, **env: str) -> str:
        code, out, err = self(*arguments, **env)
        assert (code, "Traceback" in err) == (0, False), err
        return out.strip()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path)


def test_a_key_is_made_and_its_secret_stands_alone(shell: Shell) -> None:
    code, out, err = shell(
        "create", "shop", "--tier", "premium", "--rate", "5", "--quota", "7", "--credits", "9"
    )
    assert code == 0
    key = shell.store.find(out.strip())
    assert key is not None
    assert (key.name, key.tier, key.rate_limit_per_minute, key.quota_per_day, key.credits) == (
        "shop", "premium", 5, 7, 9,
    )  # fmt: skip
    assert "shown this once" in err
    assert out.strip() not in err
    everything = shell.good("list") + shell.good("show", "shop") + shell.good("show", key.id, "--json")
    assert out.strip() not in everything


def test_for_scripts_everything_is_json(shell: Shell) -> None:
    made = json.loads(shell.good("create", "shop", "--json"))
    assert shell.store.find(made.pop("secret")) is not None
    assert made["rate"] == 60
    assert json.loads(shell.good("list", "--json")) == [made]
    assert json.loads(shell.good("show", "shop", "--json")) == made | {"webhook": None}
    rotated = json.loads(shell.good("rotate", "shop", "--json"))
    assert rotated["ends_with"] == rotated["secret"][-4:]
    signed = json.loads(shell.good("webhook", "shop", "--url", "https://example.com/a", "--json"))
    assert signed["signing_secret"].startswith("whsec_")


def test_a_pipe_gets_a_line_a_key(shell: Shell) -> None:
    shell.good("create", "shop")
    shell.good("create", "[red]lab[/]")
    head, *rows = (line.split("\t") for line in shell.good("list").splitlines())
    assert head[:4] == ["id", "name", "tier", "state"]
    assert [row[1:4] for row in rows] == [
        ["shop", "standard", "active"],
        ["[red]lab[/]", "standard", "active"],
    ]


def test_rotation_ends_the_old_secret_at_once(shell: Shell) -> None:
    old = shell.good("create", "shop")
    new = shell.good("rotate", "shop")
    assert shell.store.find(old) is None
    key = shell.store.find(new)
    assert key is not None
    assert (key.name, key.last_four) == ("shop", new[-4:])


def test_rotation_with_grace_leaves_both(shell: Shell) -> None:
    old = shell.good("create", "shop")
    new = shell.good("rotate", "shop", "--grace", "1h")
    assert shell.store.find(old) == shell.store.find(new) is not None
    code, _, err = shell("rotate", "shop", "--grace", "soon")
    assert (code, "--grace must be a number with a unit, such as 7d, 36h or 90m, got 'soon'" in err) == (
        2,
        True,
    )


def test_granting_and_revoking(shell: Shell) -> None:
    secret = shell.good("create", "shop", "--credits", "2")
    shell.good("grant", "shop", "40")
    assert shell.store.named("shop").credits == 42
    shell.good("revoke", "shop")
    assert shell.store.find(secret) is None
    assert json.loads(shell.good("show", "shop", "--json"))["state"] == "revoked"
    code, _, err = shell("revoke", "shop")
    assert (code, "was revoked before" in err) == (1, True)


def test_a_webhook_is_set_shown_replaced_and_removed(shell: Shell) -> None:
    shell.good("create", "shop")
    assert shell.good("webhook", "shop") == "none"
    secret = shell.good("webhook", "shop", "--url", "https://example.com/a?token=1")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert shell.good("webhook", "shop") == "https://example.com/a?token=1"
    assert shell.good("webhook", "shop", "--url", "https://example.com/b") != secret
    shell.good("webhook", "shop", "--remove")
    assert shell.good("webhook", "shop") == "none"
    code, _, err = shell("webhook", "shop", "--url", "http://127.0.0.1/")
    assert (code, "webhooks_private = true" in err) == (1, True)
    shell.good("webhook", "shop", "--url", "http://127.0.0.1/", RUSHES_WEBHOOKS_PRIVATE="true")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "x", "--tier", "gold"], "unknown tier 'gold'; tiers are realtime"),
        (["create", "x", "--rate", "-1"], "rate_limit_per_minute must not be negative, got -1"),
        (["create", " "], "1 to 200 characters"),
        (["show", "nobody"], "there is no key 'nobody'"),
        (["revoke", "nobody"], "there is no key 'nobody'"),
        (["rotate", "nobody"], "there is no key 'nobody'"),
        (["grant", "nobody", "5"], "there is no key 'nobody'"),
        (["webhook", "nobody"], "there is no key 'nobody'"),
        (["webhook", "x", "--url", "https://a.b/", "--remove"], "exclude each other"),
    ],
)
def test_what_is_wrong_is_named(shell: Shell, arguments: list[str], told: str) -> None:
    code, out, err = shell(*arguments)
    assert (code in {1, 2}, out) == (True, "")
    assert told in err
    assert "Traceback" not in err


def test_a_name_that_several_have_needs_the_id(shell: Shell) -> None:
    first, second = (json.loads(shell.good("create", "twin", "--json"))["id"] for _ in range(2))
    code, _, err = shell("show", "twin")
    assert code == 1
    assert f"several keys are called 'twin': {first}, {second}" in err
    shell.good("revoke", first)
    shown: Any = json.loads(shell.good("show", "twin", "--json"))
    assert shown["id"] == second


def test_a_database_that_can_not_be_used_is_told_without_its_password(shell: Shell) -> None:
    code, _, err = shell("list", RUSHES_JOBS="mysql://me:hunter2@127.0.0.1/x")
    assert (code, "SQLite or PostgreSQL, not 'mysql'" in err, "hunter2" in err) == (1, True, False)


def test_an_audit_exits_with_1_and_names_what_is_wrong(shell: Shell) -> None:
    shell.good("create", "shop", "--credits", "9")
    assert shell("audit")[:2] == (0, "")
    assert json.loads(shell.good("audit", "--json")) == []
    key = shell.store.named("shop")
    with shell.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE api_keys SET credits = 10")
    code, out, _ = shell("audit")
    assert code == 1
    assert f"balance\t{key.id}\tits balance is 10 credits, its ledger adds up to 9" in out
    code, out, _ = shell("audit", "--json")
    assert (code, json.loads(out)[0]["kind"]) == (1, "balance")


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "big", "--credits", "9" * 20),
        ("create", "big", "--rate", "9" * 20),
        ("grant", "shop", "9" * 20),
        ("rotate", "shop", "--grace", "99999d"),
    ],
)
def test_what_is_too_large_is_said_in_a_line(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.good("create", "shop", "--credits", "5")
    code, out, err = shell(*arguments)
    assert (code, out) == (1, "")
    assert "at most" in err
    assert len(err.splitlines()) == 1
    shell.good("audit")
