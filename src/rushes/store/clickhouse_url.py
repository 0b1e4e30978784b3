"""`clickhouse://user@host:port/database?cluster=NAME`: where a ClickHouse server is, never with its password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["ClickHouseUrl"]

_PORTS: Final = {"clickhouse": 8123, "clickhouses": 8443}
# Both stand in statements; ClickHouse would take more, but nobody names a database so.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CLUSTER = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class ClickHouseUrl:
    """A server's HTTP interface (TLS for `clickhouses://`), a database in it, and its cluster, if it is one."""

    base: str
    user: str
    database: str
    cluster: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with what is wrong; the text itself isn't repeated, for it may hold a password."""
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:  # whose text repeats it
            raise ValueError("the store's URL can't be read: its host or its port is none") from None
        if parts.scheme not in _PORTS:
            raise ValueError(
                f"the store must be clickhouse://user@host:port/database or clickhouses:// for TLS, "
                f"not {parts.scheme or 'a text without a scheme'}"
            )
        if parts.password is not None:
            raise ValueError(
                "the store's URL holds a password, which would be seen in process lists and logs: "
                "set RUSHES_STORE_PASSWORD or --store-password-file"
            )
        if not host:
            raise ValueError("the store's URL names no host")
        database = parts.path.strip("/") or "rushes"
        if not _NAME.fullmatch(database):
            raise ValueError(f"database {database!r} must be a name of letters, digits and underscores")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        cluster = options.pop("cluster", None)
        if options:
            raise ValueError(f"the store's URL knows only cluster=, not {', '.join(sorted(options))}")
        if cluster is not None and not _CLUSTER.fullmatch(cluster):
            raise ValueError(f"cluster {cluster!r} must be a name of letters, digits, dots and dashes")
        scheme = "http" if parts.scheme == "clickhouse" else "https"
        shown = f"[{host}]" if ":" in host else host
        return cls(
            base=f"{scheme}://{shown}:{port or _PORTS[parts.scheme]}",
            user=unquote(parts.username or "default"),
            database=database,
            cluster=cluster,
        )

    def __str__(self) -> str:
        return f"{self.base}/{self.database}"
