"""From a credential to a viewer. The only place that reads a token."""

from resolvers.errors import UnauthenticatedError
from resolvers.viewer import Viewer
from store.federation import Federation

LONGEST_KEY = 256


async def authenticate(federation: Federation, authorization: str | None) -> Viewer:
    """Return the viewer of an ``Authorization`` header: an environment's secret key as ``Bearer tr_...``.

    Raises `UnauthenticatedError`; without a credential, or with one that cannot be a key, before any database is asked.
    """
    if not authorization:
        raise UnauthenticatedError("send an environment's secret key: Authorization: Bearer tr_...")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not _can_be_a_key(token):
        raise UnauthenticatedError("the Authorization header holds no secret key: write Bearer tr_...")
    environment = await federation.control_plane.environment_by_api_key(token)
    if environment is None:
        raise UnauthenticatedError("the secret key is not valid")
    return Viewer(federation, environment)


def _can_be_a_key(token: str) -> bool:
    return token.startswith("tr_") and len(token) <= LONGEST_KEY and token.isascii() and token.isprintable()
