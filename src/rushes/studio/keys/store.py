"""Creating, finding, listing and revoking keys, and looking at what is left to them."""

from __future__ import annotations

import dataclasses
import hmac
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rushes.catalog import TIERS
from rushes.studio.keys import credit, quota
from rushes.studio.keys.errors import InsufficientCreditsError, UnknownKeyError
from rushes.studio.keys.key import ApiKey, hash_secret, last_four, new_secret
from rushes.studio.keys.table import api_keys, former_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from rushes.studio.keys.rate import Left

_DAY_NS: Final = 86_400 * 1_000_000_000
_MAX_LIMIT: Final = 2**31 - 1
_MAX_GRACE_S: Final = 36_500 * 86_400


class KeyStore:
    """The keys in one database. Every method may be called from any thread."""

    def __init__(self, engine: sa.Engine, *, clock: Callable[[], int] = time.time_ns) -> None:
        """`engine` comes from `rushes.studio.jobs.open_database`; `clock` gives Unix nanoseconds."""
        self._engine = engine
        self._clock = clock

    def create(  # noqa: D417 - the rest is described by ApiKey
        self,
        name: str,
        *,
        tier: str = "standard",
        rate_limit_per_minute: int = 60,
        quota_per_day: int = 1_000,
        credits: int = 0,  # noqa: A002 - the field's name everywhere else
        secret: str | None = None,
    ) -> tuple[ApiKey, str]:
        """Makes a key and returns it with its secret, which can't be had again.

        Args:
            secret: for a key that must be the same each time, as a development key is; else a random one.

        Raises:
            ValueError: an unknown tier, or a limit or credits that are negative or too large.
        """
        if tier not in TIERS:
            msg = f"unknown tier {tier!r}; tiers are {', '.join(TIERS)}"
            raise ValueError(msg)
        for what, value, most in (
            ("rate_limit_per_minute", rate_limit_per_minute, _MAX_LIMIT),
            ("quota_per_day", quota_per_day, _MAX_LIMIT),
            ("credits", credits, credit.MAX_CREDITS),
        ):
            if value < 0:
                msg = f"{what} must not be negative, got {value}"
                raise ValueError(msg)
            if value > most:
                msg = f"{what} must be {most} at most, got {value}"
                raise ValueError(msg)
        secret = secret or new_secret()
        key = ApiKey(
            id=f"key_{secrets.token_hex(8)}",
            name=name,
            last_four=last_four(secret),
            tier=tier,
            rate_limit_per_minute=rate_limit_per_minute,
            quota_per_day=quota_per_day,
            credits=credits,
            active=True,
            created_ns=self._clock(),
        )
        with self._engine.begin() as conn:
            conn.execute(
                sa.insert(api_keys).values(
                    id=key.id,
                    name=key.name,
                    secret_sha256=hash_secret(secret),
                    last_four=key.last_four,
                    tier=key.tier,
                    rate_limit_per_minute=key.rate_limit_per_minute,
                    quota_per_day=key.quota_per_day,
                    credits=0,
                    active=key.active,
                    created_ns=key.created_ns,
                )
            )
            credit.grant(conn, key_id=key.id, amount=credits, at_ns=key.created_ns)
        return key, secret

    def ensure(
        self,
        secret: str,
        *,
        name: str,
        tier: str = "standard",
        rate_limit_per_minute: int = 60,
        quota_per_day: int = 1_000,
        credits: int = 0,  # noqa: A002 - the field's name everywhere else
    ) -> ApiKey | None:
        """The key with this secret as it is, made if it is unknown; None if it was revoked, which it stays.

        Raises:
            ValueError: an unknown tier or a negative limit.
        """
        key = self._with_secret(secret)
        if key is None:
            try:
                key, _ = self.create(
                    name,
                    tier=tier,
                    rate_limit_per_minute=rate_limit_per_minute,
                    quota_per_day=quota_per_day,
                    credits=credits,
                    secret=secret,
                )
            except IntegrityError:  # another process made it between the two statements
                key = self._with_secret(secret)
        return key if key is not None and key.active else None

    def find(self, secret: str) -> ApiKey | None:
        """The active key with this secret, or None."""
        key = self._with_secret(secret)
        return key if key is not None and key.active else None

    def get(self, key_id: str) -> ApiKey | None:
        """The key with this id, active or not."""
        with self._engine.connect() as conn:
            row = conn.execute(sa.select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
        return None if row is None else _key(row)

    def list_all(self) -> list[ApiKey]:
        """All keys, oldest first."""
        with self._engine.connect() as conn:
            rows = conn.execute(sa.select(api_keys).order_by(api_keys.c.created_ns, api_keys.c.id)).all()
        return [_key(row) for row in rows]

    def named(self, name: str) -> ApiKey:
        """The key with this id, or the only active one of this name, or the only one of it.

        Raises:
            UnknownKeyError: there is none, or several are called so.
        """
        if (key := self.get(name)) is not None:
            return key
        called = [key for key in self.list_all() if key.name == name]
        found = [key for key in called if key.active] or called
        if len(found) == 1:
            return found[0]
        raise UnknownKeyError(name, [key.id for key in found])

    def rotate(self, key_id: str, *, grace_s: float = 0) -> str:
        """Gives an active key a new secret and returns it; the one before ends at once, or after `grace_s`.

        At once ends all former secrets; a grace leaves those that still have one.

        Raises:
            UnknownKeyError: there is no such key, or it was revoked.
            ValueError: the grace is too long.
        """
        if grace_s > _MAX_GRACE_S:
            msg = f"a former secret can work for {_MAX_GRACE_S // 86_400} days at most"
            raise ValueError(msg)
        secret, now = new_secret(), self._clock()
        until = now + round(grace_s * 1e9)
        this = api_keys.c.id == key_id
        with self._engine.begin() as conn:
            # First a change, which takes the lock: two at once must not both keep the same former secret.
            before = conn.execute(
                sa.update(api_keys)
                .where(this, api_keys.c.active.is_(sa.true()))
                .values(last_four=last_four(secret))
                .returning(api_keys.c.secret_sha256)
            ).scalar()
            if before is None:
                raise UnknownKeyError(key_id, [])
            if grace_s <= 0:
                conn.execute(
                    sa.update(former_secrets)
                    .where(former_secrets.c.key_id == key_id, former_secrets.c.until_ns > now)
                    .values(until_ns=now)
                )
            conn.execute(
                sa.insert(former_secrets).values(secret_sha256=before, key_id=key_id, until_ns=until)
            )
            conn.execute(sa.update(api_keys).where(this).values(secret_sha256=hash_secret(secret)))
        return secret

    def revoke(self, key_id: str) -> bool:
        """Makes a key useless from now on; returns whether it was active."""
        with self._engine.begin() as conn:
            changed = conn.execute(
                sa.update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.active.is_(sa.true()))
                .values(active=False)
            )
        return changed.rowcount == 1

    def grant(self, key_id: str, amount: int) -> None:
        """Adds `amount` credits to a key.

        Raises:
            ValueError: `amount` is not positive, or more than the key can have.
        """
        if amount < 1:
            msg = f"credits to add must be 1 or more, got {amount}"
            raise ValueError(msg)
        with self._engine.begin() as conn:
            credit.grant(conn, key_id=key_id, amount=amount, at_ns=self._clock())

    def verify(self, key: ApiKey, cost: int) -> None:
        """Looks whether the key may have one more video for `cost` credits, without taking anything.

        Raises:
            QuotaExceededError: today's videos are used up.
            InsufficientCreditsError: the balance does not cover it.
        """
        now = self._clock()
        with self._engine.connect() as conn:
            used = quota.quota_used(conn, key.id, at_ns=now) or 0
            balance = conn.execute(sa.select(api_keys.c.credits).where(api_keys.c.id == key.id)).scalar() or 0
        if used >= key.quota_per_day:
            raise quota.exceeded(key, at_ns=now)
        if balance < cost:
            raise InsufficientCreditsError(cost, int(balance))

    def videos_left(self, key: ApiKey) -> Left:
        """What is left of the key's videos of today (UTC)."""
        with self._engine.connect() as conn:
            return quota.left(conn, key, at_ns=self._clock())

    def active_today(self) -> int:
        """How many keys had a video accepted in the last 24 hours."""
        since = self._clock() - _DAY_NS
        query = sa.select(sa.func.count()).select_from(api_keys).where(api_keys.c.last_accepted_ns > since)
        with self._engine.connect() as conn:
            return int(conn.execute(query).scalar_one())

    def _with_secret(self, secret: str) -> ApiKey | None:
        """The key with this secret, active or not; one whose time is over makes its key look revoked."""
        digest = hash_secret(secret)
        own = sa.select(api_keys, api_keys.c.secret_sha256.label("digest"), sa.null().label("until_ns"))
        former = sa.select(
            api_keys, former_secrets.c.secret_sha256.label("digest"), former_secrets.c.until_ns
        ).join(former_secrets, former_secrets.c.key_id == api_keys.c.id)
        with self._engine.connect() as conn:
            row = (
                conn.execute(own.where(api_keys.c.secret_sha256 == digest)).one_or_none()
                or conn.execute(former.where(former_secrets.c.secret_sha256 == digest)).one_or_none()
            )
        # The index's own comparison leaks timing of the hash only; this one settles it in constant time.
        if row is None or not hmac.compare_digest(row.digest, digest):
            return None
        over = row.until_ns is not None and row.until_ns <= self._clock()
        return dataclasses.replace(_key(row), active=row.active and not over)


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        last_four=row.last_four,
        tier=row.tier,
        rate_limit_per_minute=row.rate_limit_per_minute,
        quota_per_day=row.quota_per_day,
        credits=row.credits,
        active=row.active,
        created_ns=row.created_ns,
    )
