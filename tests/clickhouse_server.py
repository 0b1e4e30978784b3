"""ClickHouse's HTTP interface over the engine of this process: statements are really run, in a database of their own.

No ClickHouse server is at hand for tests. What this one answers is what the interface is documented to answer:
settings and parameters in the URL, a format for the rows, an error's code in a header and its text in the body.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from rushes.store.clickhouse_store import ClickHouseStore
from rushes.store.clickhouse_url import ClickHouseUrl
from rushes.store.dialect import quoted
from telemetry_store import RETENTION_S, shared_store, unique

__all__ = ["PASSWORD", "Heard", "opened", "serving"]

PASSWORD: Final = "s3cret-canary"
_NO_SETTING: Final = frozenset({"query", "database", "default_format", "wait_end_of_query"})
_PIECE: Final = 8192


@dataclass
class Heard:
    """Where the server is, what it was asked, and how it should fail."""

    port: int = 0
    statements: list[str] = field(default_factory=list)
    cut_after: int | None = None  # bytes of a reply after which the connection breaks


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    heard: Heard

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        given = dict(parse_qsl(url.query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers["content-length"]))
        sql = given.get("query", "") or body.decode()
        self.heard.statements.append(sql)
        if self.headers.get("x-clickhouse-key") != PASSWORD:
            self._answer(403, b"Code: 516. DB::Exception: default: Authentication failed", code="516")
            return
        try:
            reply = self._run(sql, given, body if "query" in given else None)
        except RuntimeError as error:
            text = str(error)
            self._answer(500, text.encode(), code=text.partition("Code: ")[2].partition(".")[0])
            return
        self._answer(200, reply)

    def _run(self, sql: str, given: dict[str, str], data: bytes | None) -> bytes:
        session: Any = shared_store()._open()
        try:
            session.query(f"USE {given['database']}")
            for name, value in given.items():
                if name not in _NO_SETTING and not name.startswith("param_"):
                    session.query(f"SET {name} = {value if value.isdigit() else quoted(value)}")
            params = {
                name.removeprefix("param_"): v for name, v in given.items() if name.startswith("param_")
            }
            if data is None:
                result: bytes = session.query(sql, given.get("default_format", "TSV"), params=params).bytes()
                return result
            with tempfile.NamedTemporaryFile() as file:
                file.write(data)
                file.flush()
                session.query(sql.replace(" FORMAT ", f" FROM INFILE {quoted(file.name)} FORMAT "))
            return b""
        finally:
            session.cleanup()

    def _answer(self, status: int, body: bytes, code: str | None = None) -> None:
        self.send_response(status)
        if code is not None:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        cut = self.heard.cut_after if status == 200 else None
        for start in range(0, len(body), _PIECE):
            if cut is not None and start >= cut:
                self.close_connection = True
                return
            piece = body[start : start + _PIECE]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        pass


@contextmanager
def opened(server: Heard, database: str = "") -> Iterator[ClickHouseStore]:
    """A store on such a server, in a database of its own that is dropped afterwards."""
    url = ClickHouseUrl.parse(f"clickhouse://me@127.0.0.1:{server.port}/{database or unique('empty')}")
    store = ClickHouseStore(url, password=PASSWORD, retention_s=RETENTION_S)
    try:
        yield store
    finally:
        store._statement(f"DROP DATABASE {url.database}")
        store.close()


@contextmanager
def serving() -> Iterator[Heard]:
    """Serves on a free loopback port until the block ends."""
    heard = Heard()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"heard": heard}))
    heard.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
