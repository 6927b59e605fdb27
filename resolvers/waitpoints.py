"""Waitpoints: by id, and the runs' ties to them."""

import re
from collections.abc import Mapping, Sequence

from resolvers.filters import text
from resolvers.lists import narrowed_page
from resolvers.loaders import Keyed, Listed, PageArguments, every
from resolvers.payloads import Payload, decode
from resolvers.viewer import Viewer
from store.errors import BadCursorError, ShardError
from store.filters import TokenFilter
from store.pages import Feed, Page, Position, Window
from store.records import BlockRecord, Completion, WaitpointRecord
from store.shard import ReadFrom
from store.shards import Answers
from store.writes.waitpoints import JSON_TYPE

PRIMARY_KEY = re.compile(r"[0-9a-z]{25,26}")
"""Of a waitpoint. No cursor of ours looks like that: they hold capital letters."""


async def _waitpoints(viewer: Viewer, references: Sequence[str]) -> Answers[WaitpointRecord]:
    return await viewer.router.waitpoints(viewer.seen, references, viewer.source)


async def token_page(
    viewer: Viewer, environment_id: str, narrowing: TokenFilter, arguments: PageArguments
) -> Page[WaitpointRecord] | None:
    """Return a page of an environment's tokens over all shards. Raises `BadInputError` or `BadCursorError`."""
    read = viewer.router.waitpoints_by_environment
    return await narrowed_page(viewer, environment_id, "environment.waitpointTokens", narrowing, arguments, read)


async def place(viewer: Viewer, cursor: str | None) -> str | Position | None:
    """Return the position of a token that is named by its primary key, as the platform's cursors are; else the cursor.

    Raises `BadCursorError` if the viewer sees no such token, or a shard's error if it may exist.
    """
    if cursor is None or PRIMARY_KEY.fullmatch(cursor) is None:
        return cursor
    found = await viewer.load(by_reference, cursor)
    if found is None:
        raise BadCursorError
    return Position.of(found)


async def stored_output(viewer: Viewer, waitpoint: WaitpointRecord) -> tuple[str | None, str]:
    """Return the output of a waitpoint as it is stored, and its content type. Raises a shard's error.

    From a primary: whoever reads an output of what is complete does not ask again.
    """
    none = (None, JSON_TYPE)
    if waitpoint.raw_status == "PENDING":
        return none
    answer = (await viewer.router.outputs(viewer.seen, [waitpoint.id], ReadFrom.PRIMARY)).get(waitpoint.id, none)
    if isinstance(answer, ShardError):
        raise answer
    return answer


async def _outputs(viewer: Viewer, ids: Sequence[str]) -> Mapping[str, Payload | ShardError | None]:
    answers = await viewer.router.outputs(viewer.seen, ids, viewer.source)
    return {id_: answer if isinstance(answer, ShardError) else decode(*answer) for id_, answer in answers.items()}


async def tags(
    viewer: Viewer, environment_id: str, prefix: str | None, first: int | None, after: str | None
) -> list[str]:
    """Return the tags of an environment's tokens that begin with a prefix, newest first.

    `after` is the last one of the page before. Raises `BadInputError`.
    """
    size = PageArguments(first).size()
    wanted, last = text("name", prefix) or "", text("after", after)
    return await viewer.router.waitpoint_tags(environment_id, wanted, size, last, viewer.source)


async def _completions(
    viewer: Viewer, steps: Sequence[Completion]
) -> Mapping[Completion, list[WaitpointRecord] | ShardError]:
    """Return the waitpoints whose end brought runs to a step: the ties are on the run's shard, they are on any.

    In the order that the step keeps, as far as it keeps one. One that no shard has any more is history.
    """
    answers = await viewer.router.completions([address for address, _ in steps], viewer.source)
    linked = [ids for ids in answers.values() if not isinstance(ids, ShardError)]
    distinct = list(dict.fromkeys(id_ for ids in linked for id_ in ids))
    records = await viewer.load_many(by_reference, distinct)
    loaded = dict(zip(distinct, records, strict=True))
    found: dict[Completion, list[WaitpointRecord] | ShardError] = {}
    for step in steps:
        address, order = step
        answer = answers.get(address, [])
        if isinstance(answer, ShardError):
            found[step] = answer
            continue
        places = {id_: place for place, id_ in enumerate(order)}
        waitpoints = [loaded[id_] for id_ in sorted(answer, key=lambda id_: (places.get(id_, len(places)), id_))]
        failed = next((one for one in waitpoints if isinstance(one, ShardError)), None)
        found[step] = failed or [one for one in waitpoints if one is not None and not isinstance(one, ShardError)]
    return found


async def _blocks(viewer: Viewer, run_ids: Sequence[str]) -> Answers[list[BlockRecord]]:
    return every(run_ids, await viewer.router.blocks(run_ids, viewer.source))


async def _of_runs(
    viewer: Viewer, feeds: Mapping[str, Feed], window: Window
) -> Mapping[str, Page[WaitpointRecord] | ShardError]:
    """Return the waitpoints of runs: the ties are on the run's shard, the waitpoints on any.

    A tie to a waitpoint that no shard has any more is history, and is left out.
    """
    answers = await viewer.router.waitpoint_ids(list(feeds), window, viewer.source)
    wanted = {run_id: [] if isinstance(ids := answers.get(run_id, []), ShardError) else ids for run_id in feeds}
    distinct = list(dict.fromkeys(id_ for ids in wanted.values() for id_ in ids[: window.size]))
    records = await viewer.load_many(by_reference, distinct)
    loaded = dict(zip(distinct, records, strict=True))
    pages: dict[str, Page[WaitpointRecord] | ShardError] = {}
    for run_id, feed in feeds.items():
        answer = answers.get(run_id)
        if isinstance(answer, ShardError):
            pages[run_id] = answer
            continue
        shown = wanted[run_id][: window.size]
        found = [loaded[id_] for id_ in shown]
        failures = {error.shard: error for error in found if isinstance(error, ShardError)}
        pages[run_id] = Page(
            feed,
            tuple(record for record in found if record is not None and not isinstance(record, ShardError)),
            has_next_page=len(wanted[run_id]) > window.size or bool(failures),
            has_previous_page=window.at is not None,
            failures=tuple(failures.values()),
            start=_place(shown[0], loaded) if shown else window.at,
            end=_place(shown[-1], loaded) if shown else window.at,
        )
    return pages


def _place(waitpoint_id: str, loaded: Mapping[str, WaitpointRecord | ShardError | None]) -> Position:
    """Return the position of a tie, whether or not its waitpoint was found: only the id counts in this list."""
    record = loaded[waitpoint_id]
    return Position(0, waitpoint_id) if record is None or isinstance(record, ShardError) else Position.of(record)


by_reference: Keyed[str, WaitpointRecord] = Keyed("waitpoint", _waitpoints)
"""A waitpoint by friendly id (``waitpoint_...``) or primary key, from whichever shard has it."""

outputs: Keyed[str, Payload | None] = Keyed("waitpoint.output", _outputs)
"""The output of a waitpoint, decoded, by primary key."""

completing: Keyed[Completion, list[WaitpointRecord]] = Keyed("snapshot.completedWaitpoints", _completions)
"""The waitpoints whose end brought a run to a step, by what the step says of them."""

blocking: Keyed[str, list[BlockRecord]] = Keyed("run.blockedBy", _blocks)
"""The edges that block a run now, by the run's primary key."""

of_run: Listed[WaitpointRecord] = Listed("run.waitpoints", _of_runs)
"""The waitpoints that a run ever waited on, in the order in which they were minted."""
