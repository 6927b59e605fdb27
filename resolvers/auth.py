"""From a credential to a viewer. The only place that reads a token."""

import re

from resolvers.errors import UnauthenticatedError
from resolvers.scope import Scope
from resolvers.viewer import Viewer
from store.federation import Federation

LONGEST_KEY = 256
ACCESS_TOKEN = re.compile(r"tr_pat_[0-9A-Za-z]{40}")


async def authenticate(federation: Federation, authorization: str | None, origin: str = "") -> Viewer:
    """Return the viewer of an ``Authorization`` header, which holds a credential as ``Bearer tr_...``.

    An environment's secret key shows that environment; a personal access token, what is in its user's organizations.
    `origin` is where the caller reached us. Raises `UnauthenticatedError`; without a credential, or with one that
    cannot be one, before any database is asked.
    """
    if not authorization:
        raise UnauthenticatedError("send a credential: Authorization: Bearer tr_...")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not _can_be_a_key(token):
        raise UnauthenticatedError("the Authorization header holds no credential: write Bearer tr_...")
    return Viewer(federation, await _scope_of(federation, token), origin)


async def _scope_of(federation: Federation, token: str) -> Scope:
    if ACCESS_TOKEN.fullmatch(token):
        membership = await federation.control_plane.membership_by_token(token)
        if membership is None:
            raise UnauthenticatedError("the personal access token is not valid")
        return Scope.of_user(membership)
    environment = await federation.control_plane.environment_by_api_key(token)
    if environment is None:
        raise UnauthenticatedError("the secret key is not valid")
    return Scope.of_environment(environment)


def _can_be_a_key(token: str) -> bool:
    return token.startswith("tr_") and len(token) <= LONGEST_KEY and token.isascii() and token.isprintable()
