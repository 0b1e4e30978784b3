"""`/metrics` of a process that serves nothing else: a worker, or a user's script."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rushes.sdk.providers import exposition

__all__ = ["serve_metrics"]


class _Handler(BaseHTTPRequestHandler):
    server_version = "rushes"

    def do_GET(self) -> None:
        if self.path.split("?")[0] != "/metrics":
            self.send_error(404, "only /metrics is served here")
            return
        text, content_type = exposition(self.headers.get("Accept", ""))
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Scrapes are not worth a line."""


def serve_metrics(port: int = 0, host: str = "127.0.0.1") -> str:
    """Serves this process's `/metrics` from a thread and returns the URL; port 0 takes a free one."""
    server = ThreadingHTTPServer((host, port), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="rushes-metrics", daemon=True).start()
    return f"http://{host}:{server.server_address[1]}/metrics"
