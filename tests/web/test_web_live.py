"""Live updates: who is woken by what, what a stream sends, and that all streams end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest

from rushes.dashboards import OPERATIONS
from rushes.web.live import Kind, Live, Tick
from rushes.web.panels import PanelEvaluator
from rushes.web.silence import Silence
from rushes.web.streams import OperationsFeed, TraceFeed, VideoFeed, VideosFeed, stream
from rushes.web.timerange import TimeRange
from web.fakes import Room
from web.rows import MS, add_fleet, add_video

TRACE = "a" * 32


def notify_often(live: Live) -> None:
    for _ in range(50):
        live.notify("traces", [TRACE])


def chunks_of(live: Live, feed: Any) -> AsyncIterator[Any]:
    return aiter(stream(live, feed).body_iterator)


async def _next(subscription: Any) -> Tick:
    return await asyncio.wait_for(anext(subscription), 10)


def test_news_from_another_thread_wakes_a_stream_once_however_many_batches_come() -> None:
    async def watch() -> list[Tick]:
        live = Live(min_interval_s=0, heartbeat_s=0.02)
        with live.subscribe() as news:
            ingest = threading.Thread(target=notify_often, args=(live,))
            ingest.start()
            ingest.join()
            return [await _next(news), await _next(news)]

    assert asyncio.run(watch()) == [Tick.NEWS, Tick.HEARTBEAT]


def test_a_traces_stream_sleeps_through_news_of_others() -> None:
    async def watch() -> list[Tick]:
        live = Live(min_interval_s=0, heartbeat_s=0.02)
        with live.subscribe(TRACE) as news:
            live.notify("traces", ["b" * 32])
            first = await _next(news)
            live.notify("traces", ["b" * 32, TRACE])
            return [first, await _next(news)]

    assert asyncio.run(watch()) == [Tick.HEARTBEAT, Tick.NEWS]


@pytest.mark.parametrize("feed", [VideosFeed, VideoFeed, TraceFeed, OperationsFeed])
@pytest.mark.parametrize("kind", ["traces", "metrics", "logs"])
def test_a_stream_sleeps_through_news_that_its_page_does_not_show(feed: Any, kind: Kind) -> None:
    async def watch() -> Tick:
        live = Live(min_interval_s=0, heartbeat_s=0.02)
        with live.subscribe(kinds=feed.kinds) as news:
            live.notify(kind, [TRACE])
            return await _next(news)

    shown = kind == "metrics" if feed is OperationsFeed else kind in ("traces", "logs")
    assert asyncio.run(watch()) is (Tick.NEWS if shown else Tick.HEARTBEAT)


def test_a_stream_waits_for_the_kinds_of_its_feed(room: Room) -> None:
    waited: list[Collection[Kind] | None] = []

    class Watched(Live):
        def subscribe(self, *args: Any, kinds: Collection[Kind] | None = None, **more: Any) -> Any:
            waited.append(kinds)
            return super().subscribe(*args, kinds=kinds, **more)

    async def watch() -> None:
        live = Watched()
        feed = VideosFeed(
            room.videos,
            lambda: room.now_ns,
            Silence(room.logs, lambda: room.now_ns),
            model=None,
            status=None,
            limit=10,
        )
        body = chunks_of(live, feed)
        await anext(body)
        live.close()
        async for _ in body:
            pass

    asyncio.run(watch())
    assert waited == [VideosFeed.kinds]


def test_what_runs_grows_older_without_news(room: Room) -> None:
    row = add_video(room, "a", room.now_ns - 2000 * MS, done=3)

    async def watch() -> list[Any]:
        live = Live(min_interval_s=0, heartbeat_s=0.02)
        feed = VideosFeed(
            room.videos,
            lambda: room.now_ns,
            Silence(room.logs, lambda: room.now_ns),
            model=None,
            status=None,
            limit=10,
        )
        body = chunks_of(live, feed)
        await anext(body)
        await anext(body)
        room.now_ns += 60_000 * MS
        chunks = [str(await anext(body))]
        live.close()
        return _events(chunks + [str(c) async for c in body])

    (news,) = asyncio.run(watch())
    assert [(r["id"], r["took"]) for r in news["rows"]] == [(row.request_id, "1 min 2 s")]


def test_news_during_the_pause_is_kept_for_its_end() -> None:
    async def watch() -> tuple[list[Tick], float]:
        live = Live(min_interval_s=0.05, heartbeat_s=5)
        with live.subscribe() as news:
            live.notify("logs", [])
            ticks = [await _next(news)]
            began = asyncio.get_running_loop().time()
            live.notify("logs", [])
            ticks.append(await _next(news))
            return ticks, asyncio.get_running_loop().time() - began

    ticks, paused = asyncio.run(watch())
    assert ticks == [Tick.NEWS, Tick.NEWS]
    assert paused > 0.02, "the second piece of news waited for the interval"


def test_closing_ends_streams_that_wait_and_streams_to_come() -> None:
    async def watch() -> int:
        live = Live(min_interval_s=60, heartbeat_s=60)

        async def drain() -> int:
            with live.subscribe() as news:
                return len([tick async for tick in news])

        waiting = asyncio.create_task(drain())
        pausing = asyncio.create_task(drain())
        await asyncio.sleep(0)
        live.notify("traces", [])
        await asyncio.sleep(0.01)
        live.notify("traces", [])
        live.close()
        counts = [await asyncio.wait_for(task, 10) for task in (waiting, pausing)]
        counts.append(await asyncio.wait_for(drain(), 10))
        assert live.watchers == 0
        return max(counts)

    assert asyncio.run(watch()) <= 1


def test_news_after_a_streams_loop_has_ended_harms_nobody() -> None:
    live = Live()

    async def leave() -> Any:
        context = live.subscribe()
        context.__enter__()  # a stream that was never ended
        return context

    kept = asyncio.run(leave())
    live.notify("traces", [TRACE])
    live.close()
    assert kept


def _events(chunks: list[str]) -> list[Any]:
    return [json.loads(c.removeprefix("data: ")) for c in chunks if c.startswith("data: ")]


def test_a_stream_starts_with_all_there_is_and_then_sends_changes(room: Room) -> None:
    add_video(room, "a", room.now_ns - 2000 * MS)
    row = add_video(room, "b", room.now_ns - 1000 * MS, steps=40, done=3)

    async def watch() -> list[str]:
        live = Live(min_interval_s=0, heartbeat_s=0.02)
        feed = VideosFeed(
            room.videos,
            lambda: room.now_ns,
            Silence(room.logs, lambda: room.now_ns),
            model=None,
            status=None,
            limit=10,
        )
        body = chunks_of(live, feed)
        chunks = [str(await anext(body)), str(await anext(body))]
        room.videos.change(row.request_id, step=4)
        live.notify("logs", [row.trace_id])
        chunks += [str(await anext(body)), str(await anext(body))]
        live.close()
        chunks += [str(c) async for c in body]
        assert live.watchers == 0
        return chunks

    chunks = asyncio.run(watch())
    first, second = _events(chunks)
    assert len(first["rows"]) == 2
    assert [r["id"] for r in second["rows"]] == [row.request_id]
    assert second["rows"][0]["step"] == 4
    assert chunks[0].startswith("retry:")
    assert chunks[-1].startswith(":"), "a heartbeat is a comment"


def test_a_store_that_fails_is_told_and_tried_again(room: Room) -> None:
    class Feed:
        kinds: Collection[Kind] = frozenset({"traces"})
        answers = iter([OSError("secret"), {"rows": []}])

        def poll(self) -> Any:
            answer = next(self.answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    async def watch() -> list[str]:
        live = Live(min_interval_s=0)
        body = chunks_of(live, Feed())
        chunks = [str(await anext(body)), str(await anext(body))]
        live.notify("traces", [])
        chunks.append(str(await anext(body)))
        live.close()
        return chunks + [str(c) async for c in body]

    chunks = asyncio.run(watch())
    assert chunks[1].startswith("event: problem")
    assert "secret" not in "".join(chunks)
    assert _events(chunks) == [{"rows": []}]


def test_a_video_that_no_longer_fits_the_filter_leaves_the_list(room: Room) -> None:
    row = add_video(room, "a", room.now_ns, done=3)
    feed = VideosFeed(
        room.videos,
        lambda: room.now_ns,
        Silence(room.logs, lambda: room.now_ns),
        model=None,
        status="generating",
        limit=10,
    )
    assert feed.poll()
    assert feed.poll() is None, "nothing has changed"
    room.videos.change(row.request_id, status="completed")
    assert feed.poll() == {"rows": [], "gone": [row.request_id]}


def test_rows_pushed_off_the_end_of_a_full_list_are_not_gone(room: Room) -> None:
    feed = VideosFeed(
        room.videos,
        lambda: room.now_ns,
        Silence(room.logs, lambda: room.now_ns),
        model=None,
        status=None,
        limit=2,
    )
    for number in range(2):
        add_video(room, f"n{number}", room.now_ns + number * MS, steps=1)
    feed.poll()
    new = add_video(room, "new", room.now_ns + 9 * MS, steps=1)
    news = feed.poll()
    assert news
    assert [r["id"] for r in news["rows"]] == [new.request_id]
    assert news["gone"] == []


def test_a_trace_sends_its_new_spans_and_lines_only(room: Room) -> None:
    row = add_video(room, "a", room.now_ns, steps=5)
    spans, lines = room.traces.rows[row.trace_id], room.logs.rows
    early = sorted(spans, key=lambda s: s.start_ns)[:6]
    room.traces.rows = {row.trace_id: early}
    room.logs.rows = lines[:2]
    feed = TraceFeed(room.traces, room.logs, row.trace_id)
    first = feed.poll()
    assert first
    assert {s["id"] for s in first["spans"]} == {s.span_id for s in early}
    assert feed.poll() is None
    room.traces.rows = {row.trace_id: spans}
    room.logs.rows = lines
    second = feed.poll()
    assert second
    sent = {s["id"] for s in second["spans"]}
    assert {s.span_id for s in spans} - {s.span_id for s in early} <= sent
    assert len(second["logs"]) == len(lines) - 2
    assert second["resources"] == {}, "sent before"


def test_a_video_sends_its_story_when_that_changes(room: Room) -> None:
    row = add_video(room, "a", room.now_ns - 20_000 * MS, done=3, steps=10)
    trace = TraceFeed(room.traces, room.logs, row.trace_id)
    feed = VideoFeed(
        room.videos,
        trace,
        room.traces,
        row.request_id,
        lambda: room.now_ns,
        silence=Silence(room.logs, lambda: room.now_ns),
    )
    first = feed.poll()
    assert first
    assert first["video"]["headline"] == "Generating, step 3 of 10"
    room.videos.change(row.request_id, step=4)
    second = feed.poll()
    assert second
    assert set(second) == {"video"}


def test_operations_sends_the_panels_that_changed(room: Room) -> None:
    add_fleet(room.promql)
    moments = iter([TimeRange(0, 3600, "1h"), TimeRange(0, 3600, "1h"), TimeRange(5, 3605, "1h")])
    feed = OperationsFeed(PanelEvaluator(room.promql), OPERATIONS, lambda: next(moments))
    first = feed.poll()
    assert first
    assert set(first["panels"]) == {p.id for p in OPERATIONS.panels}
    assert feed.poll() is None
    third = feed.poll()
    assert third
    assert "active-jobs" in third["panels"]
    assert "errors" not in third["panels"], "its recorded counts stand still"
