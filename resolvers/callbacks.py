"""The URL at which a third party completes a token: it is the credential, by a signature in its path.

The signature is the platform's (``apps/webapp/app/services/httpCallback.server.ts``): HMAC-SHA256 over the token's
primary key, with the key of the root environment for a branch. Keys that were rotated away count in their grace.
"""

import hmac
import re
from collections.abc import Collection, Mapping, Sequence

from resolvers import values
from resolvers.errors import UnauthenticatedError
from resolvers.loaders import Keyed
from resolvers.refusals import NotFoundError
from resolvers.viewer import Viewer
from store.errors import ReadOnlyError
from store.federation import Federation
from store.ids import can_exist
from store.records import TokenAddress
from store.seam import Held, Seam
from store.writes.waitpoints import Outcome

SIGNATURE = re.compile(r"[0-9a-f]{64}")
NOT_FOUND = "Waitpoint not found"


async def _urls(viewer: Viewer, tokens: Sequence[TokenAddress]) -> Mapping[TokenAddress, str]:
    environments = dict.fromkeys(token.environment_id for token in tokens)
    keys = await viewer.credentials.signing_keys([id_ for id_ in environments if id_ in viewer.seen])
    return {
        token: _url(viewer.origin, token.id, keys[token.environment_id])
        for token in tokens
        if token.environment_id in keys
    }


def _url(origin: str, token_id: str, key: str) -> str:
    return f"{origin}/api/v1/waitpoints/tokens/waitpoint_{token_id}/callback/{_signature(token_id, key)}"


def _signature(token_id: str, key: str) -> str:
    return hmac.digest(key.encode(), token_id.encode(), "sha256").hex()


def _is_signed(token_id: str, signature: str, keys: Collection[str]) -> bool:
    """Tell whether one of the keys made a signature, in a time that says nothing of how much of it is right."""
    if SIGNATURE.fullmatch(signature) is None:
        return False
    return any([hmac.compare_digest(signature, _signature(token_id, key)) for key in keys])  # noqa: C419  asks them all


urls: Keyed[TokenAddress, str] = Keyed("waitpoint.callbackUrl", _urls)
"""Where a POST completes a token, by the token's environment and primary key."""


async def opened(federation: Federation, friendly_id: str, signature: str) -> Held:
    """Return the token that a URL of ours names, whoever's it is, from its shard's primary.

    Raises `NotFoundError` or `MissingError` for a token that is nowhere, or in no environment that is left;
    `UnauthenticatedError` for a signature that is none of its keys'; `ReadOnlyError`; and `ShardError`.
    """
    seam = _seam(federation)
    if not friendly_id.startswith("waitpoint_") or not can_exist(friendly_id):
        raise NotFoundError(NOT_FOUND)
    held = await seam.held(None, friendly_id)
    found = await federation.credentials.signers(held.waitpoint.environment_id)
    if found is None:
        raise NotFoundError(NOT_FOUND)
    _, keys = found
    if not _is_signed(held.waitpoint.id, signature, keys):
        raise UnauthenticatedError("Invalid URL, hash doesn't match")
    return held


async def complete(federation: Federation, held: Held, data: object) -> None:
    """Complete an opened token; what came before stands. Raises refusals, `StateError`, and `ShardError`."""
    await _seam(federation).complete(held, Outcome(*values.encode(data, ("input", "data"))), ("MANUAL",))


def _seam(federation: Federation) -> Seam:
    if federation.writing is None:
        raise ReadOnlyError
    return federation.writing.seam
