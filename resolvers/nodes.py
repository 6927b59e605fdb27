"""Any object by its id: the prefix says which kind it is."""

from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from resolvers import batches, details, environments, runs, waitpoints
from resolvers.errors import BadInputError
from resolvers.loaders import LARGEST_PAGE, Keyed
from resolvers.summary import required
from resolvers.viewer import Viewer
from store.ids import body, can_exist


class _Kind(NamedTuple):
    """A kind of load, and how a friendly id becomes its key.

    What is shown only with something that it is a part of, says with what: that one's kind, and where its key stands.
    """

    load: Keyed[str, Any]
    key: Callable[[str], str]
    part_of: tuple[Keyed[str, Any], Callable[[Any], str]] | None = None


_KINDS = {
    "run": _Kind(runs.by_reference, str),
    "batch": _Kind(batches.by_reference, str),
    "waitpoint": _Kind(waitpoints.by_reference, str),
    "bulk": _Kind(details.bulk_actions, str),
    "attempt": _Kind(details.attempt_by_id, str, (runs.by_reference, attrgetter("run_id"))),
    "env": _Kind(environments.by_id, body),
    "project": _Kind(environments.project_by_id, body),
    "org": _Kind(environments.organization_by_id, body),
}


async def node(viewer: Viewer, id_: str, only: str | None = None) -> Any:  # noqa: ANN401  a record of any kind
    """Return the record that an id names, or None: no such row that the viewer may see, or no id of the kind `only`.

    Raises `ForbiddenError` for one that the scopes of the viewer's credential do not reach.
    """
    prefix, separator, rest = id_.partition("_")
    kind = _KINDS.get(prefix)
    if kind is None or not separator or not rest or only not in (None, prefix) or not can_exist(id_):
        return None
    record = required(await viewer.load(kind.load, kind.key(id_)))
    if record is not None and kind.part_of is not None and viewer.scope.ability.is_limited:
        whole, key = kind.part_of
        required(await viewer.load(whole, key(record)))
    return record


def nodes(viewer: Viewer, ids: Sequence[str]) -> list[Awaitable[Any]]:
    """Return the records that ids name, in their order. Raises `BadInputError` for more than a page of them."""
    if len(ids) > LARGEST_PAGE:
        raise BadInputError(f"at most {LARGEST_PAGE} ids can be asked for at once, not {len(ids)}")
    return [node(viewer, id_) for id_ in ids]
