"""Backups come back whole, on any backend, or are refused with what is wrong with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clickhouse_server import Heard, opened
from rushes.query import Logs, Traces
from rushes.query.log_filter import LogFilter
from rushes.query.span_filter import SpanFilter
from rushes.store import schema
from rushes.store.backup import Piece, StoreSource, back_up, checked, expiring, restore
from rushes.store.backup_place import BackupError, Place
from rushes.store.clickhouse_store import ClickHouseStore
from rushes.store.interface import StoreUnavailable, Table
from rushes.store.schema import ARROW
from telemetry_store import NOW_S

DAY_S = 86_400


def fill(store: ClickHouseStore) -> None:
    """Rows in every table, over three days where it has days."""
    days = f"toDateTime64({NOW_S}, 3, 'UTC') + toIntervalSecond(number * {3 * DAY_S // 300})"
    for table, columns in {
        "samples": f"'m' AS metric, number % 7 AS series_id, {days} AS ts, if(number = 3, nan, number / 3) AS value",
        "exemplars": f"'m' AS metric, number AS series_id, {days} AS ts, map('a', 'é') AS labels",
        "histograms": f"'h' AS metric, number AS series_id, {days} AS ts, [1, 2] AS positive_indices",
        "spans": f"{days} AS ts, hex(number) AS trace_id, map('k', toString(number)) AS attributes",
        "logs": f"{days} AS ts, toString(number) AS body",
        "series": f"'m' AS metric, number AS series_id, map('l', 'v') AS labels, {NOW_S} AS last_seen",
        "metrics": f"toString(number) AS metric, 'counter' AS type, {NOW_S} AS last_seen",
    }.items():
        names = ", ".join(part.rpartition(" AS ")[2] for part in columns.split(", ") if " AS " in part)
        store._statement(f"INSERT INTO {table} ({names}) SELECT {columns} FROM numbers(300)")


def contents(store: ClickHouseStore) -> dict[str, str]:
    """A checksum of every table's rows, whatever their order."""
    return {
        table: store.rows(
            f"SELECT concat(toString(count()), '/', toString(sum(sipHash64({', '.join(columns.names)})))) AS sum "
            f"FROM {table}"
        )[0]["sum"]
        for table, columns in ARROW.items()
    }


@pytest.fixture(scope="module")
def filled(server: Heard) -> Iterator[ClickHouseStore]:
    with opened(server) as store:
        fill(store)
        yield store


@pytest.fixture(scope="module")
def nothing(server: Heard) -> Iterator[ClickHouseStore]:
    """A store that stays empty."""
    with opened(server) as store:
        yield store


def test_everything_comes_back(filled: ClickHouseStore, empty: ClickHouseStore, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    place = Place(str(tmp_path / "backup"))
    manifest = back_up(StoreSource(filled), place, lambda done, whole: told.append((done, whole)))
    assert manifest.rows == 300 * len(ARROW)
    assert [file.table for file in manifest.files][-2:] == ["metrics", "series"]
    assert told[-1] == (manifest.rows, manifest.rows)
    assert [done for done, _ in told] == sorted(done for done, _ in told)

    assert restore(Place(f"file://{tmp_path}/backup"), empty) == manifest
    assert contents(empty) == contents(filled)
    (samples, *_) = (tmp_path / "backup" / "samples").iterdir()
    assert pq.read_schema(samples).names == ARROW["samples"].names, "any reader of Parquet can have it"


def test_an_empty_store_can_be_backed_up(nothing: ClickHouseStore, tmp_path: Path) -> None:
    manifest = back_up(StoreSource(nothing), Place(str(tmp_path)))
    assert manifest.files == ()
    assert restore(Place(str(tmp_path)), nothing).rows == 0


def test_what_is_older_than_the_retention_is_counted(whole: Path) -> None:
    manifest = checked(Place(str(whole)))
    assert expiring(manifest, 30 * DAY_S, NOW_S + 3 * DAY_S) == 0
    assert expiring(manifest, DAY_S, NOW_S + 2 * DAY_S) == 100 * 5
    assert expiring(manifest, DAY_S, NOW_S + 30 * DAY_S) == 300 * 5


def test_a_place_takes_one_backup_and_a_store_with_rows_none(whole: Path, filled: ClickHouseStore) -> None:
    place = Place(str(whole))
    with pytest.raises(BackupError, match=r"has a backup of .* already"):
        back_up(StoreSource(filled), place)
    with pytest.raises(BackupError, match="the store has rows already, in exemplars, histograms"):
        restore(place, filled)


class Failing(StoreSource):
    """Its second piece can't be read."""

    def read(self, piece: Piece) -> Iterator[Any]:
        if piece == self.pieces()[1]:
            raise StoreUnavailable("the store is gone")
        return super().read(piece)


def test_an_unfinished_backup_is_none_and_can_be_made_again(
    filled: ClickHouseStore, empty: ClickHouseStore, tmp_path: Path
) -> None:
    place = Place(str(tmp_path))
    with pytest.raises(StoreUnavailable):
        back_up(Failing(filled), place)
    assert any(tmp_path.rglob("*.parquet"))
    with pytest.raises(BackupError, match="never finished"):
        restore(place, empty)
    back_up(StoreSource(filled), place)
    restore(place, empty)
    assert contents(empty) == contents(filled)


def _rewritten(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    path = folder / "manifest.json"
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def whole(filled: ClickHouseStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup that nobody changes."""
    folder = tmp_path_factory.mktemp("whole")
    back_up(StoreSource(filled), Place(str(folder)))
    return folder


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (
            lambda d: (d / "spans" / "20260101.0000.parquet").unlink(),
            r"spans/20260101\.0000\.parquet is missing",
        ),
        (lambda d: (d / "logs" / "20260101.0000.parquet").write_bytes(b"x"), r"has 1 bytes instead of \d+"),
        (lambda d: (d / "manifest.json").write_text("{"), "manifest.json can't be read"),
        (lambda d: (d / "manifest.json").write_text("[]"), "manifest.json can't be read"),
        (lambda d: (d / "manifest.json").unlink(), "its manifest is missing"),
        (lambda d: _rewritten(d, lambda b: b.update(schema=1)), "was changed"),
        (lambda d: _rewritten(d, lambda b: b.update(format=2)), "has format 2"),
    ],
)
def test_a_partial_or_damaged_backup_is_refused_before_anything_is_restored(
    whole: Path, nothing: ClickHouseStore, tmp_path: Path, harm: Callable[[Path], object], told: str
) -> None:
    damaged = shutil.copytree(whole, tmp_path / "damaged")
    harm(damaged)
    with pytest.raises(BackupError, match=told):
        restore(Place(str(damaged)), nothing)
    assert not any(p.rows for p in nothing.partitions())


def test_a_file_that_was_changed_is_refused_before_its_rows_are_taken(
    whole: Path, empty: ClickHouseStore, tmp_path: Path
) -> None:
    damaged = shutil.copytree(whole, tmp_path / "damaged")
    _flip(damaged / "logs" / "20260102.0000.parquet")
    with pytest.raises(BackupError, match=r"the checksum of logs/20260102\.0000\.parquet does not fit"):
        restore(Place(str(damaged)), empty)
    assert empty.rows("SELECT count() AS n FROM logs") == [{"n": 100}], "the day before it"


@pytest.mark.parametrize("location", ["ftp://there/x", "/proc/none/such", "s3://"])
def test_a_place_that_is_none_is_said_without_what_may_be_secret(location: str) -> None:
    with pytest.raises(BackupError, match="can't") as caught:
        Place(location).manifest()
    assert "canary" not in str(caught.value)
    with pytest.raises(BackupError) as caught:
        Place("ftp://me:canary@there/x?key=canary")
    assert "canary" not in str(caught.value)


@pytest.fixture
def older(server: Heard, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClickHouseStore]:
    """A store as the second version of the schema made it, with rows."""
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
    later: dict[Table, int] = {"spans": 2, "logs": 6}
    for table, columns in later.items():
        monkeypatch.setitem(ARROW, table, pa.schema(list(ARROW[table])[:-columns]))
    with opened(server) as store:
        fill(store)
        yield store


def test_a_backup_of_an_older_version_is_restored(
    empty: ClickHouseStore, older: ClickHouseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(StoreSource(older), Place(str(tmp_path / "backup")))
    before = {table: ARROW[table].names for table in ARROW}
    monkeypatch.undo()
    restore(Place(str(tmp_path / "backup")), empty)
    for table, names in before.items():
        asked = f"SELECT sum(sipHash64({', '.join(names)})) AS sum FROM {table}"
        assert empty.rows(asked) == older.rows(asked), table
    assert empty.rows("SELECT DISTINCT flags, rest FROM spans") == [{"flags": 0, "rest": ""}]


def test_a_store_of_an_older_version_is_migrated_where_it_is(
    older: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    older._migrate()
    (trace_id,) = Traces(older).ids(SpanFilter(), order="oldest", limit=1)
    (span,) = Traces(older).get(trace_id)
    assert (span.flags, span.rest) == (0, {})
    assert len(Logs(older).otlp_json(LogFilter(q="7"))["resourceLogs"]) == 1
    older._migrate()
