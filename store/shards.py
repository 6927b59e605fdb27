"""All shards, and the ways to ask them: each way is written once, and everything that crosses shards uses these.

The shard that an id names and, for a batch, the others for what it misses (`read_through`); all shards at once
(`everywhere`); all at once, merged into pages (`pages`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeAlias, TypeVar

import structlog

from store import ids
from store.errors import ShardError
from store.pages import Feed, Page, R, Window, merge
from store.records import Address
from store.residency import NEW, Residency, Route, ShardKey
from store.shard import ReadConnection, ReadFrom, Shard

T = TypeVar("T")
Answer: TypeAlias = T | ShardError
Answers: TypeAlias = dict[str, Answer[T]]
"""By key. A key without an entry is absent wherever it could be; an error means that a shard could not be asked.

There may be more keys than were asked for: a row is known by its friendly id and by its primary key.
"""

Feeds: TypeAlias = Mapping[str, Feed]
"""The lists of many parents, by the parent's primary key."""

Query: TypeAlias = Callable[[Shard, ReadConnection], Awaitable[T]]
Read: TypeAlias = Callable[[Collection[str], ReadFrom], Awaitable[Answers[T]]]
KeyedQuery: TypeAlias = Callable[[Shard, ReadConnection, Collection[str]], Awaitable[Mapping[str, T]]]

log = structlog.get_logger()


class Shards:
    """Every database that holds runs, by key."""

    def __init__(self, shards: Sequence[Shard], ksuid: ShardKey = NEW) -> None:
        self.shards = {shard.key: shard for shard in shards}
        self.residency = Residency(tuple(self.shards), ksuid)
        if len(self.shards) != len(shards) or len({id(shard.primary) for shard in shards}) != len(shards):
            raise ValueError("shards must be distinct, in name and in database")

    async def of_runs(self, run_ids: Collection[str], query: KeyedQuery[T], source: ReadFrom) -> Answers[T]:
        """Ask each run's own shard for it, or for what belongs to it."""
        return await self.read_through(run_ids, self.residency.run, query, source)

    async def of_batches(self, references: Collection[str], query: KeyedQuery[T], source: ReadFrom) -> Answers[T]:
        """Ask the shard that each batch's id names for it, or for what belongs to it; then the others."""
        return await self.read_through(references, self.residency.batch, query, source)

    async def beside_runs(
        self, addresses: Collection[Address], query: KeyedQuery[T], source: ReadFrom
    ) -> dict[Address, Answer[T]]:
        """Ask each run's own shard for rows that belong to it, by their own primary keys."""
        runs = {address.id: address.run_id for address in addresses}
        answers = await self.read_through(runs, lambda id_: self.residency.run(runs[id_]), query, source)
        return {address: answers[address.id] for address in addresses if address.id in answers}

    async def looked_up(
        self,
        keys: Collection[str],
        query: Query[Mapping[str, T]],
        source: ReadFrom,
        choose: Callable[[T, T], T] = lambda _, other: other,
    ) -> Answers[T]:
        """Ask all shards at once for keys that name none. Of several answers new's is taken, unless told to `choose`.

        A key that nobody has is an error if a shard did not answer: that one may have it.
        """
        legs, failures = await self.everywhere(query, source)
        answers: Answers[T] = dict.fromkeys(keys, failures[0]) if failures else {}
        found: dict[str, T] = {}
        for leg in legs:
            for key, value in leg.items():
                found[key] = choose(found[key], value) if key in found else value
        return answers | found

    async def surely(self, keys: Collection[str], source: ReadFrom, read: Read[T]) -> Answers[T]:
        """Read keys, and those that replicas miss once more from the primaries: a miss must not be a lag.

        Costs nothing where no shard has a replica of its own.
        """
        answers = await read(keys, source)
        if source is ReadFrom.PRIMARY or not any(shard.lags for shard in self.shards.values()):
            return answers
        missed = [key for key in keys if key not in answers]
        return {**answers, **await read(missed, ReadFrom.PRIMARY)} if missed else answers

    async def read_through(
        self, keys: Collection[str], route: Callable[[str], Route], query: KeyedQuery[T], source: ReadFrom
    ) -> Answers[T]:
        """Ask each key's first shard, then the next one for the keys that it misses, one query a shard and round.

        A key that is found is answered, whatever other shards said; one that is not, is an error if any shard of its
        route failed.
        """

        def for_keys(asked: Collection[str]) -> Query[Mapping[str, T]]:
            return lambda shard, connection: query(shard, connection, asked)

        answers: Answers[T] = {}
        routes = {key: route(key) for key in keys if ids.can_exist(key)}
        remaining = {key: shards for key, shards in routes.items() if shards}
        if homeless := len(routes) - len(remaining):
            log.warning("ids name shards that are not configured", count=homeless)
        while remaining:
            wanted: dict[ShardKey, list[str]] = {}
            for key, shards in remaining.items():
                wanted.setdefault(shards[0], []).append(key)
            legs = await asyncio.gather(*(self.ask(shard, for_keys(of), source) for shard, of in wanted.items()))
            for (_, asked), leg in zip(wanted.items(), legs, strict=True):
                answers.update(dict.fromkeys(asked, leg) if isinstance(leg, ShardError) else leg)
            remaining = {
                key: rest
                for key, shards in remaining.items()
                if (rest := shards[1:]) and (key not in answers or isinstance(answers[key], ShardError))
            }
        return answers

    async def ask(self, key: ShardKey, query: Query[T], source: ReadFrom) -> Answer[T]:
        """Ask one shard. Its failure is an answer too."""
        shard = self.shards[key]
        try:
            return await shard.read(lambda connection: query(shard, connection), source)
        except ShardError as error:
            return error

    async def everywhere(self, query: Query[T], source: ReadFrom) -> tuple[list[T], list[ShardError]]:
        """Ask all shards at once. Returns their answers in precedence, lowest first, and the failures of the others.

        Raises the first failure if no shard answered: nothing is known then.
        """
        answers = await asyncio.gather(*(self.ask(key, query, source) for key in self.residency.precedence))
        legs = [answer for answer in answers if not isinstance(answer, ShardError)]
        failures = [answer for answer in answers if isinstance(answer, ShardError)]
        if failures and not legs:
            raise failures[0]
        return legs, failures

    async def everyone(self, query: Query[T], source: ReadFrom) -> list[T]:
        """Ask all shards at once, for what is nothing in part. Raises the first failure."""
        legs, failures = await self.everywhere(query, source)
        if failures:
            raise failures[0]
        return legs

    async def pages(
        self, query: Query[Mapping[str, Sequence[R]]], feeds: Feeds, window: Window, source: ReadFrom
    ) -> dict[str, Page[R]]:
        """Ask all shards at once for a page of each parent, and merge per parent. Every parent has a page."""
        legs, failures = await self.everywhere(query, source)
        return {
            parent: merge(feed, window, [leg.get(parent, ()) for leg in legs], failures)
            for parent, feed in feeds.items()
        }
