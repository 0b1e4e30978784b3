"""A ClickHouse server as the store: its URL, its password, what a cluster gets, and a server that goes away."""

from __future__ import annotations

import logging
import re

import pytest

from clickhouse_server import PASSWORD, Heard, opened
from rushes.store import schema
from rushes.store.chdb_store import ChdbStore
from rushes.store.clickhouse_store import ClickHouseStore
from rushes.store.clickhouse_url import ClickHouseUrl
from rushes.store.interface import StoreError, StoreUnavailable


def test_a_url_says_where_and_who() -> None:
    url = ClickHouseUrl.parse("clickhouse://me%40home@db.example:9000/telemetry?cluster=main-2")
    assert (url.base, url.user, url.database, url.cluster) == (
        "http://db.example:9000", "me@home", "telemetry", "main-2",
    )  # fmt: skip
    plain = ClickHouseUrl.parse("clickhouses://[::1]")
    assert (plain.base, plain.user, plain.database, plain.cluster) == (
        "https://[::1]:8443", "default", "rushes", None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clickhouse://me:canary@host/x", "RUSHES_STORE_PASSWORD"),
        ("http://host/x?canary", r"clickhouse://user@host:port/database .* not http"),
        ("/var/canary", "a text without a scheme"),
        ("clickhouse:///x", "names no host"),
        ("clickhouse://host:canary/x", "can't be read"),
        ("clickhouse://host/x;DROP", "must be a name of letters"),
        ("clickhouse://host/x?cluster=a'b", "must be a name of letters"),
        ("clickhouse://host/x?cluster=", "must be a name of letters"),
        ("clickhouse://host/x?password=canary", "knows only cluster=, not password"),
    ],
)
def test_a_url_that_wont_do_is_said_without_its_secrets(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        ClickHouseUrl.parse(text)
    assert "canary" not in str(caught.value)


def test_a_wrong_password_is_said_and_no_password_is_ever_shown(
    server: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    url = ClickHouseUrl.parse(f"clickhouse://me@127.0.0.1:{server.port}/secrets")
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(StoreUnavailable, match="Authentication failed") as caught,
    ):
        ClickHouseStore(url, password="wrong-canary")
    assert "canary" not in f"{caught.value!r}{caught.value.__cause__!r}{caplog.text}"
    with caplog.at_level(logging.DEBUG), opened(server) as store:
        assert store.rows("SELECT 1 AS one") == [{"one": 1}]
        assert PASSWORD not in f"{store!r}{store.__dict__}"
    assert PASSWORD not in caplog.text


def test_a_server_that_isnt_there_is_worth_a_later_try() -> None:
    with pytest.raises(StoreUnavailable, match=r"http://127\.0\.0\.1:1/rushes does not answer"):
        ClickHouseStore(ClickHouseUrl.parse("clickhouse://127.0.0.1:1"))


def test_rows_that_end_early_are_no_result(server: Heard) -> None:
    with opened(server) as store:
        server.cut_after = 100_000
        try:
            with pytest.raises(StoreUnavailable):
                for _ in store.batches("SELECT number, toString(number) AS text FROM numbers(300000)"):
                    pass
            with pytest.raises(StoreUnavailable):
                store.query("SELECT number, toString(number) AS text FROM numbers(300000)")
        finally:
            server.cut_after = None
        assert store.rows("SELECT 1 AS one") == [{"one": 1}]


def test_reads_can_not_write(server: Heard) -> None:
    with opened(server) as store, pytest.raises(StoreError, match="readonly"):
        store.query("DROP TABLE samples")


def test_an_unknown_cluster_is_refused(server: Heard) -> None:
    url = ClickHouseUrl.parse(f"clickhouse://me@127.0.0.1:{server.port}/conformance?cluster=nowhere")
    with opened(server, "conformance"), pytest.raises(StoreError, match="knows no cluster 'nowhere'"):
        ClickHouseStore(url, password=PASSWORD)


def test_what_a_cluster_gets_is_the_same_schema_on_all_hosts_in_replicas(store: ChdbStore) -> None:
    statements = [schema.VERSIONS, *(statement for migration in schema.MIGRATIONS for statement in migration)]
    for statement in statements:
        made = schema.for_cluster(statement, "main-2")
        tidy = store.rows("SELECT formatQuery({sql:String}) AS sql", {"sql": made})[0]["sql"]  # it parses
        altered = re.search(r"ALTER TABLE (\w+)", statement)
        if altered is not None:
            assert f"ALTER TABLE {altered[1]} ON CLUSTER `main-2`" in " ".join(tidy.split())
            continue
        name = re.search(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)
        assert name is not None, "a new kind of statement: think of clusters"
        assert f"CREATE TABLE IF NOT EXISTS {name[1]} ON CLUSTER `main-2`" in tidy
        (engine,) = re.findall(r"ENGINE = (\w+)", tidy)
        assert engine in {"ReplicatedMergeTree", "ReplicatedReplacingMergeTree"}
        assert "non_replicated" not in tidy
        columns = re.compile(r"\n\((.*)\n\)\nENGINE", re.DOTALL)
        plain = store.rows("SELECT formatQuery({sql:String}) AS sql", {"sql": statement})[0]["sql"]
        assert columns.search(tidy)[1] == columns.search(plain)[1]  # type: ignore[index]
