"""What a customer's server gets when a video has ended: signed, once if all goes well, again if it doesn't."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import openai
import pytest
import sqlalchemy as sa

from recording import Recorded
from rushes.studio.webhooks import AddressRefusedError, DeliveryError, Sender
from studio.webhooks.conftest import START_NS, Receiver, Studio

DELIVER_ONE = """
import sys
from rushes.studio.jobs import open_database
from rushes.studio.webhooks import Deliverer, Endpoints, Outbox, Sender

_, url, prompt_key, now = sys.argv
engine = open_database(url)
outbox = Outbox(engine, clock=lambda: int(now))
Deliverer(outbox, Endpoints(engine, prompt_key=prompt_key.encode()), Sender(private=True)).deliver_one()
"""
DELIVERIES = "rushes_webhook_deliveries_total"


def _waiting(studio: Studio) -> int:
    with studio.store.engine.connect() as conn:
        return int(conn.execute(sa.text("SELECT count(*) FROM webhook_outbox")).scalar_one())


def _next(studio: Studio) -> int | None:
    with studio.store.engine.connect() as conn:
        return conn.execute(sa.text("SELECT min(due_ns) FROM webhook_outbox")).scalar()


def test_the_official_client_verifies_what_arrives(studio: Studio, receiver: Receiver) -> None:
    endpoint = studio.endpoint(receiver.url)
    jobs = [studio.completed(), studio.failed(), studio.cancelled()]
    deliverer = studio.deliverer()
    while deliverer.deliver_one():
        pass
    client = openai.OpenAI(api_key="none", webhook_secret=endpoint.secret)
    assert len(receiver.got) == 3
    for job, kind, received in zip(
        jobs, ("video.completed", "video.failed", "video.cancelled"), receiver.got, strict=True
    ):
        event = client.webhooks.unwrap(received.body, received.headers)
        assert event.type == kind
        assert json.loads(received.body) == {
            "id": event.id,
            "object": "event",
            "created_at": (job.finished_ns or 0) // 10**9,
            "type": kind,
            "data": {"id": job.id},
        }
        assert received.headers["webhook-id"] == event.id.replace("evt_", "wh_")
        assert received.headers["content-type"] == "application/json"
        assert received.path == "/hook?token=okapicanary"
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(received.body + b" ", received.headers)
    assert _waiting(studio) == 0


def test_without_an_endpoint_nothing_is_noted(studio: Studio) -> None:
    studio.failed()
    assert _waiting(studio) == 0


def test_a_job_ends_once_and_so_does_its_message(studio: Studio, receiver: Receiver) -> None:
    studio.endpoint(receiver.url)
    job = studio.cancelled()
    assert studio.store.cancel(job.id) is None
    assert studio.store.fail(job.id, code="x", message="x", reason="internal") is None
    assert _waiting(studio) == 1


def test_what_was_sent_by_a_process_that_was_killed_is_sent_again_under_its_id(
    studio: Studio, receiver: Receiver
) -> None:
    endpoint = studio.endpoint(receiver.url)
    studio.failed()
    gateway = subprocess.Popen(
        [sys.executable, "-c", DELIVER_ONE, str(studio.store.engine.url), studio.prompt_key, str(START_NS)]
    )
    receiver.before_answering = gateway.kill
    assert gateway.wait(60) == -signal.SIGKILL
    receiver.before_answering = lambda: None
    other = studio.deliverer()
    assert not other.deliver_one()  # still claimed
    studio.clock.advance(61)
    assert other.deliver_one()
    assert not other.deliver_one()
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    client = openai.OpenAI(api_key="none", webhook_secret=endpoint.secret)
    client.webhooks.unwrap(second.body, second.headers)


def test_two_gateways_send_once(studio: Studio, receiver: Receiver) -> None:
    studio.endpoint(receiver.url)
    for _ in range(6):
        studio.cancelled()
    gate = threading.Barrier(4)

    def deliver() -> None:
        gate.wait()
        deliverer = studio.deliverer()
        for _ in range(40):
            deliverer.deliver_one()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [received.headers["webhook-id"] for received in receiver.got]
    assert len(ids) == len(set(ids)) == 6


def test_failures_are_retried_ever_more_slowly_for_three_days(
    studio: Studio, receiver: Receiver, recorded: Recorded
) -> None:
    studio.endpoint(receiver.url)
    receiver.status = 503
    job = studio.failed()
    before = recorded.metrics(DELIVERIES)
    deliverer = studio.deliverer()
    sent: list[float] = []
    while due_ns := _next(studio):
        studio.clock.now = due_ns
        sent.append((due_ns - (job.finished_ns or 0)) / 1e9)
        assert deliverer.deliver_one()
    pauses = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert sent[0] == 0
    assert 4.5 <= pauses[0] <= 5.5
    assert all(1.6 < later / earlier < 2.5 for earlier, later in itertools.pairwise(pauses[:12]))
    assert max(pauses) <= 8 * 3600 * 1.1
    assert 60 * 3600 < sent[-1] <= 72 * 3600
    assert 15 < len(sent) == len(receiver.got) < 30
    after = recorded.metrics(DELIVERIES)
    counted = {
        outcome: after.get(f'{DELIVERIES}{{outcome="{outcome}"}}', 0)
        - before.get(f'{DELIVERIES}{{outcome="{outcome}"}}', 0)
        for outcome in ("delivered", "failed", "given_up")
    }
    assert counted == {"delivered": 0, "failed": len(sent) - 1, "given_up": 1}
    lines = [record.log_record for record in recorded.logs.get_finished_logs()]
    told = [dict(line.attributes or {}) for line in lines]
    assert [line["event"] for line in told] == ["webhook.failed"] * (len(sent) - 1) + ["webhook.given_up"]
    assert told[-1]["error"] == "it answered 503"
    assert told[-1]["request_id"] == job.id
    assert "okapicanary" not in repr([(line.body, line.attributes) for line in lines])


def test_a_redirect_is_not_followed_and_counts_as_a_failure(studio: Studio, receiver: Receiver) -> None:
    studio.endpoint(receiver.url)
    receiver.status, receiver.location = 307, receiver.url
    studio.failed()
    assert studio.deliverer().deliver_one()
    assert len(receiver.got) == 1
    assert _waiting(studio) == 1


def test_an_endless_answer_is_not_read(receiver: Receiver) -> None:
    receiver.answer = b"x" * (8 << 20)
    Sender(private=True, timeout_s=10).post(receiver.url, b"{}", {})
    assert len(receiver.got) == 1


def test_one_slow_endpoint_does_not_hold_up_the_others(studio: Studio, receiver: Receiver) -> None:
    other, _ = studio.keys.create("other", credits=10)
    studio.endpoint(receiver.url)
    studio.endpoints.set(other.id, receiver.url)
    first, second, third = studio.cancelled(), studio.cancelled(), studio.cancelled(other)
    claimed = [studio.outbox.claim() for _ in range(3)]
    assert [message and message.job_id for message in claimed] == [first.id, third.id, None]
    assert claimed[0] is not None
    studio.outbox.remove(claimed[0])
    freed = studio.outbox.claim()
    assert freed is not None
    assert freed.job_id == second.id


def test_one_that_came_too_late_changes_nothing(studio: Studio, receiver: Receiver) -> None:
    studio.endpoint(receiver.url)
    studio.failed()
    first = studio.outbox.claim()
    studio.clock.advance(61)
    second = studio.outbox.claim()
    assert first is not None
    assert second is not None
    assert (first.id, first.attempt, second.attempt) == (second.id, 1, 2)
    studio.outbox.remove(first)
    assert _waiting(studio) == 1
    studio.outbox.retry(first)
    assert studio.outbox.claim() is None  # still the second's
    studio.outbox.remove(second)
    assert _waiting(studio) == 0


def test_an_endpoint_that_was_removed_or_whose_key_was_revoked_gets_nothing(
    studio: Studio, receiver: Receiver
) -> None:
    studio.endpoint(receiver.url)
    studio.failed()
    assert studio.endpoints.remove(studio.key.id)
    assert not studio.endpoints.remove(studio.key.id)
    assert _waiting(studio) == 0
    studio.endpoint(receiver.url)
    job = studio.submit()
    studio.keys.revoke(studio.key.id)
    studio.store.cancel(job.id)
    assert not studio.deliverer().deliver_one()
    assert receiver.got == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL's files are not the test's to read
def test_url_and_secret_are_encrypted(studio: Studio, receiver: Receiver, tmp_path: Path) -> None:
    endpoint = studio.endpoint(receiver.url)
    studio.failed()
    assert endpoint.secret.startswith("whsec_")
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("studio.db*"))
    assert b"webhook_outbox" in stored
    assert b"okapicanary" not in stored
    assert endpoint.secret[6:].encode() not in stored
    assert "okapicanary" not in repr(endpoint)
    replaced = studio.endpoint(receiver.url)
    assert replaced.secret != endpoint.secret
    assert studio.endpoints.get(studio.key.id) == replaced


def test_a_private_address_is_refused_at_delivery(studio: Studio, receiver: Receiver) -> None:
    studio.endpoint(receiver.url.replace("127.0.0.1", "localhost"))
    studio.failed()
    assert studio.deliverer(private=False).deliver_one()
    assert receiver.got == []
    with pytest.raises(AddressRefusedError, match="webhooks_private"):
        Sender(private=False).post(receiver.url, b"{}", {})


def test_what_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(DeliveryError, match=r"did not answer within 0\.2 s"):
            Sender(private=True, timeout_s=0.2).post(
                f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", {}
            )
        port = silent.getsockname()[1]
    with pytest.raises(DeliveryError, match="can't be connected to"):
        Sender(private=True).post(f"http://127.0.0.1:{port}/", b"{}", {})
    with pytest.raises(DeliveryError, match="can't be connected to"):
        Sender(private=True).post("http://no-such-host.invalid/", b"{}", {})


def test_one_that_drips_does_not_hold_the_thread() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(DeliveryError, match="did not answer within"):
            Sender(private=True, timeout_s=0.5).post(
                f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}
            )
        stop.set()
        thread.join()


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver: Receiver) -> None:
    sender = Sender(private=True, ssl_context=ssl.create_default_context())
    with pytest.raises(DeliveryError):
        sender.post(receiver.url.replace("http://", "https://"), b"{}", {})
    assert receiver.got == []
