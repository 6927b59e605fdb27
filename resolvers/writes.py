"""What all mutations share: which environment and which run is meant, and whether the credential may write to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from resolvers import environments, values
from resolvers.ability import Resource
from resolvers.refusals import InvalidInputError, InvalidRunStateError, InvalidStateError, NotFoundError
from resolvers.viewer import Viewer
from store.changes import RETIRED
from store.errors import MissingError, ShardError
from store.ids import body, can_exist
from store.plans import KEY_LIFETIME, IdempotencyKey
from store.records import EnvironmentRecord, RunRecord
from store.shard import ReadFrom

Path = tuple[str, ...]
ID: Path = ("input", "id")


ARCHIVED = "the environment is archived"


async def environment_of(viewer: Viewer, friendly_id: str | None, *, archived: str = ARCHIVED) -> EnvironmentRecord:
    """Return the environment that is written to: the credential's own, or the one that a member names.

    Raises `NotFoundError`, or `InvalidStateError` for one in which nothing can run any more, or never could.
    """
    path = ("input", "environmentId")
    own = viewer.scope.environment
    if friendly_id is None:
        if own is None:
            raise InvalidInputError("say which environment: this credential is no environment's own", path)
        return own
    if not friendly_id.startswith("env_") or not can_exist(friendly_id):
        raise NotFoundError("Environment not found", path)
    found = await viewer.load(environments.by_id, body(friendly_id))
    user = viewer.scope.user
    anothers = found is not None and found.type == "DEVELOPMENT" and user and found.member_user_id != user.id
    if found is None or anothers:
        raise NotFoundError("Environment not found", path)
    if found.archived_at is not None:
        raise InvalidStateError(archived, path)
    if found.type == "PREVIEW" and found.parent_environment_id is None:
        raise InvalidStateError("a preview's runs are in its branches: name one of them", path)
    return found


async def run_of(viewer: Viewer, friendly_id: str, path: Path = ID, name: str = "Run") -> RunRecord:
    """Return a run from its shard's primary. Raises `NotFoundError`, or `ShardError` if it may exist."""
    if not friendly_id.startswith("run_") or not can_exist(friendly_id):
        raise NotFoundError(f"{name} not found", path)
    answer = (await viewer.router.runs(viewer.seen, [friendly_id], ReadFrom.PRIMARY)).get(friendly_id)
    if isinstance(answer, ShardError):
        raise answer
    if answer is None:
        raise NotFoundError(f"{name} not found", path)
    return answer


async def run_to_write(
    viewer: Viewer, friendly_id: str, path: Path = ID, name: str = "Run", *, if_retired: bool = False
) -> RunRecord:
    """Return a run that the credential may write to, and that is not of the retired engine unless told.

    Raises `NotFoundError`, `ForbiddenError`, `InvalidRunStateError` or `ShardError`.
    """
    found = await run_of(viewer, friendly_id, path, name)
    viewer.need(Resource("runs", found.friendly_id), Resource("tasks", found.task_identifier), action="write")
    if found.engine == "V1" and not if_retired:
        raise InvalidRunStateError(RETIRED, found.status, path)
    return found


@contextmanager
def named_by(path: Path) -> Iterator[None]:
    """Say of what no shard has, by which part of the input it was named. Raises `NotFoundError`."""
    try:
        yield
    except MissingError as error:
        raise NotFoundError(str(error), path) from error


def key_of(key: str | None, lifetime: str | None, path: Path = ("input",)) -> IdempotencyKey | None:
    """Return an idempotency key as it is stored if it has no scope. Raises `InvalidInputError`."""
    time_to_live = values.time_to_live(lifetime, (*path, "idempotencyKeyTTL")) if lifetime is not None else KEY_LIFETIME
    return None if key is None else IdempotencyKey(values.idempotency_key(key, (*path, "idempotencyKey")), time_to_live)
