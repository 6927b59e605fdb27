"""Rows of the control plane, collected table by table; few enough to be written down column by column."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count

from store.demo.copying import Lines, Sheet, line
from store.demo.mint import Mint, timestamp


@dataclass
class Rows:
    """The rows so far. Rows of one table have the same columns; tables are in the order of their first rows."""

    seed: int
    _rows: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    _serials: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self._mint = Mint(self.seed, "control plane")

    def lines(self) -> Lines:
        """Return the rows, in an order that foreign keys allow."""
        return {
            Sheet(table, tuple(rows[0])): [line(*row.values()) for row in rows] for table, rows in self._rows.items()
        }

    def add(self, table: str, at: int, prefix: str = "", /, **values: object) -> str:
        """Add a row that was made at a moment, and return its id; with a prefix, it has a friendly id too."""
        times = {"createdAt": timestamp(at), "updatedAt": timestamp(at)}
        return self.add_timeless(table, at, prefix, **times, **values)

    def add_timeless(self, table: str, at: int, prefix: str = "", /, **values: object) -> str:
        """Add a row of a table that does not say when it was made."""
        id_ = self._mint.cuid(at, next(self._serials))
        friendly = {"friendlyId": f"{prefix}_{id_}"} if prefix else {}
        self._rows.setdefault(table, []).append({"id": id_, **friendly, **values})
        return id_

    def secret(self, length: int) -> str:
        """Return hexadecimal digits that are as good as random."""
        return sha256(f"{self.seed} secret {next(self._serials)}".encode()).hexdigest()[:length]
