"""Public tokens that we hand out: what the platform's SDK signs too (``packages/core/src/v3/jwt.ts``)."""

import time
import warnings
from collections.abc import Mapping, Sequence

import jwt

from resolvers.auth import AUDIENCE, ISSUER
from resolvers.loaders import Keyed
from resolvers.viewer import Viewer
from store.records import TokenAddress

LIFETIME = 24 * 3600
"""Seconds."""


async def _to_complete(viewer: Viewer, tokens: Sequence[TokenAddress]) -> Mapping[TokenAddress, str]:
    keys = await viewer.credentials.signing_keys(list({token.environment_id for token in tokens} & viewer.seen))
    return {
        token: _signed(token.environment_id, f"write:waitpoints:waitpoint_{token.id}", keys[token.environment_id])
        for token in tokens
        if token.environment_id in keys
    }


def _signed(environment_id: str, scope: str, key: str) -> str:
    now = int(time.time())
    claims = {
        "sub": environment_id,
        "pub": True,
        "scopes": [scope],
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + LIFETIME,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode(claims, key, algorithm="HS256")


to_complete: Keyed[TokenAddress, str] = Keyed("publicAccessToken", _to_complete)
"""What lets its bearer complete one token, by the token's environment and primary key."""
