"""The URL at which a third party completes a token: it is the credential, by a signature in its path.

The signature is the platform's (``apps/webapp/app/services/httpCallback.server.ts``): HMAC-SHA256 over the token's
primary key, with the key of the root environment for a branch.
"""

import hmac
from collections.abc import Mapping, Sequence

from resolvers.loaders import Keyed
from resolvers.viewer import Viewer
from store.records import TokenAddress


async def _urls(viewer: Viewer, tokens: Sequence[TokenAddress]) -> Mapping[TokenAddress, str]:
    environments = dict.fromkeys(token.environment_id for token in tokens)
    keys = await viewer.credentials.signing_keys([id_ for id_ in environments if id_ in viewer.seen])
    return {
        token: _url(viewer.origin, token.id, keys[token.environment_id])
        for token in tokens
        if token.environment_id in keys
    }


def _url(origin: str, token_id: str, key: str) -> str:
    signature = hmac.digest(key.encode(), token_id.encode(), "sha256").hex()
    return f"{origin}/api/v1/waitpoints/tokens/waitpoint_{token_id}/callback/{signature}"


urls: Keyed[TokenAddress, str] = Keyed("waitpoint.callbackUrl", _urls)
"""Where a POST completes a token, by the token's environment and primary key."""
