"""One query's way to the store: within its deadline and its sample limit, and no statement twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from rushes.query.promql.deadline import Deadline
from rushes.query.promql.identities import Identities
from rushes.query.promql.model import Labels, PromQLError
from rushes.store.interface import Param, Store, StoreError, StoreExhausted, StoreQueryError, StoreTimeout

__all__ = ["Reader"]

_AT_ONCE: Final = 10_000
_LABELS: Final = (
    "SELECT series_id, any(metric) AS metric, any(labels) AS of_series FROM series "
    "WHERE series_id IN {ids:Array(UInt64)} GROUP BY series_id"
)


class Reader:
    """Asks the store on behalf of one query.

    Args:
        store: where the samples are.
        deadline: when to give up.
        max_samples: how many samples the query may hold at once.
        identities: what is known of series.
    """

    def __init__(self, store: Store, deadline: Deadline, max_samples: int, identities: Identities) -> None:
        self._store = store
        self._identities = identities
        self.deadline = deadline
        self.max_samples = max_samples
        self._tables: dict[tuple[Any, ...], Any] = {}

    def table(self, sql: str, params: Mapping[str, Param]) -> Any:
        """A `pyarrow.Table`, from memory if this query has asked the same before.

        Raises:
            PromQLError: a matcher can't be evaluated, time ran out, or the store failed.
        """
        key = (sql, *((name, _hashable(value)) for name, value in sorted(params.items())))
        if key not in self._tables:
            self.deadline.check()
            self._tables[key] = self._asked(sql, params)
        return self._tables[key]

    def labelled(self, table: Any) -> tuple[list[Labels], Any]:
        """The labels of each row with a `series_id`, and the rows themselves.

        At the end of the retention samples may outlive what says whose they are: those rows are left out.

        Raises:
            PromQLError: time ran out, or the store failed.
        """
        found = self._identities.labels(table["series_id"].to_pylist(), self._unknown)
        labels = [each for each in found if each is not None]
        if len(labels) < len(found):
            table = table.filter(pa.array([each is not None for each in found]))
        return labels, table

    def _unknown(self, ids: list[int]) -> Any:
        # So many at a time as a statement has room for.
        return pa.concat_tables(
            self.table(_LABELS, {"ids": ids[begin : begin + _AT_ONCE]})
            for begin in range(0, len(ids), _AT_ONCE)
        )

    def bound(self, samples: int) -> None:
        """Check a number of samples against the limit.

        Raises:
            PromQLError: there are too many.
        """
        if samples > self.max_samples:
            raise _too_many()

    def _asked(self, sql: str, params: Mapping[str, Param]) -> Any:
        remaining = self.deadline.remaining()
        try:
            return self._store.query(sql, params, timeout_s=remaining if remaining < float("inf") else None)
        except StoreQueryError as error:
            raise PromQLError("bad_data", f"a matcher can't be evaluated: {error}") from error
        except StoreTimeout as error:
            self.deadline.check()
            raise PromQLError("timeout", "query timed out in query execution") from error
        except StoreExhausted as error:
            raise _too_many() from error
        except StoreError as error:
            self.deadline.check()
            raise PromQLError("execution", str(error)) from error


def _too_many() -> PromQLError:
    return PromQLError(
        "execution", "query processing would load too many samples into memory in query execution"
    )


def _hashable(value: Param) -> str | int | float | tuple[Any, ...]:
    return (
        value
        if isinstance(value, str | int | float)
        else tuple(value)
        if isinstance(value, Sequence)
        else value
    )
