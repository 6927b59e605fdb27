"""From credentials to a viewer. The only place that reads a token."""

import asyncio
import base64
import binascii
import hmac
import json
import math
import re
import time
import warnings
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import jwt

from resolvers.ability import Ability
from resolvers.errors import UnauthenticatedError
from resolvers.scope import Scope
from resolvers.viewer import Viewer
from store.credentials import digest
from store.errors import ShardError
from store.federation import Federation
from store.ids import can_exist
from store.memory import Memory

LONGEST_KEY, LONGEST_TOKEN, LONGEST_BRANCH = 256, 8_192, 512
KEY = re.compile(r"tr_[!-~]+")
ACCESS_TOKEN = re.compile(r"tr_pat_[0-9A-Za-z]{40}")
ADDITIONAL_KEY = re.compile(r"tr_(dev|stg|prod|preview)_sk_[0-9A-Za-z]{24}")
PUBLIC_TOKEN = re.compile(r"[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+")
ISSUER, AUDIENCE = "https://id.trigger.dev", "https://api.trigger.dev"
"""Of public tokens, as the platform's SDK signs them (``packages/core/src/v3/jwt.ts``)."""

CLOCK_SECONDS = 10
"""By how much the clock of who signed a token may be ahead of ours."""

TRUSTED = 10.0
"""For how many seconds who was known stays so while the control plane does not answer."""

PATIENCE = 0.25
"""For how many seconds who is known waits for the control plane."""

SESSION = "session "
"""Begins what stands for a session. No token has a space in it."""

INVALID_KEY = "the secret key is not valid"
INVALID_TOKEN = "the public access token is not valid"  # noqa: S105  a sentence
EXPIRED = "the public access token has expired"
SEND_ONE = "send one credential: Authorization: Bearer tr_..."


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request presents: its Authorization headers, the branch that it names, and a session's cookie."""

    authorization: tuple[str, ...] = ()
    branch: str | None = None
    session: str | None = None
    """Counts only where no Authorization is given, and only from requests that no other site's page can send."""


class Authenticator:
    """Tells who asks. Credentials that were seen a moment ago cost no statement, and are remembered by their hash."""

    def __init__(
        self, federation: Federation, session_secret: str | None = None, longest_memory: float = math.inf
    ) -> None:
        """Remember credentials as long as the control plane's rows, but no longer than so many seconds."""
        self._federation, self._session_secret = federation, session_secret
        control_plane = federation.control_plane
        self._scopes = Memory[str, Scope](
            min(control_plane.ttl, longest_memory), control_plane.entries, keeps_absence=False
        )

    async def viewer(self, presented: Presented, origin: str = "") -> Viewer:
        """Return who presents a credential; `origin` is where they reached us.

        An environment's secret key shows that environment; an additional key and a public token too, as far as their
        scopes go; a personal access token and a session, what is in the user's organizations. Raises
        `UnauthenticatedError`, which says nothing of the credential; without one, or with one that cannot be one,
        before any database is asked.
        """
        return self._viewer(await self._scope(presented), origin)

    def again(self, viewer: Viewer) -> Viewer:
        """Return a viewer who sees the same, with loaders of its own. Raises `UnauthenticatedError` if it has ended."""
        return self._viewer(viewer.scope, viewer.origin)

    def _viewer(self, scope: Scope, origin: str) -> Viewer:
        if scope.expires_at is not None and scope.expires_at <= time.time():
            raise UnauthenticatedError(EXPIRED)
        return Viewer(self._federation, scope, origin)

    async def _scope(self, presented: Presented) -> Scope:
        token = self.credential(presented)
        if token.startswith(SESSION):
            return await self._remembered(token, lambda: self._of_session(token.removeprefix(SESSION)))
        if PUBLIC_TOKEN.fullmatch(token):
            return await self._remembered(token, lambda: self._of_public_token(token))
        if not _can_be_a_key(token):
            raise UnauthenticatedError(SEND_ONE)
        if ACCESS_TOKEN.fullmatch(token):
            return await self._remembered(token, lambda: self._of_access_token(token))
        scope = await self._remembered(token, lambda: self._of_key(token))
        branch = _branch(presented.branch, scope)
        return (
            scope
            if branch is None
            else await self._remembered(f"{token} {branch}", lambda: self._of_branch(scope, branch))
        )

    def credential(self, presented: Presented) -> str:
        """Return the one credential that is presented, however it is written: a token, or whose session it is.

        Raises `UnauthenticatedError`.
        """
        if not presented.authorization and presented.session is not None and self._session_secret:
            return SESSION + _user_of(presented.session, self._session_secret)
        if len(presented.authorization) != 1:
            raise UnauthenticatedError(SEND_ONE)
        scheme, _, token = presented.authorization[0].partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or len(token) > LONGEST_TOKEN or token.startswith(SESSION):
            raise UnauthenticatedError(SEND_ONE)
        return token

    async def _remembered(self, credential: str, ask: Callable[[], Awaitable[Scope]]) -> Scope:
        return await self._scopes.one(digest(credential), ask)

    async def _of_key(self, key: str) -> Scope:
        credentials = self._federation.credentials
        if ADDITIONAL_KEY.fullmatch(key):
            found = await credentials.environment_by_additional_key(key)
            if found is None:
                raise UnauthenticatedError(INVALID_KEY)
            return Scope.of_environment(found[0], Ability.of_scopes(found[1]))
        environment = await credentials.environment_by_api_key(key)
        if environment is None:
            raise UnauthenticatedError(INVALID_KEY)
        return Scope.of_environment(environment)

    async def _of_branch(self, root: Scope, name: str) -> Scope:
        (root_id,) = root.environment_ids
        branch = await self._federation.credentials.branch_named(root_id, name)
        if branch is None:
            raise UnauthenticatedError("no branch of this environment has the name in x-trigger-branch")
        return Scope.of_environment(branch, root.ability)

    async def _of_public_token(self, token: str) -> Scope:
        environment_id = _subject(token)
        found = await self._federation.credentials.signers(environment_id)
        if found is None:
            raise UnauthenticatedError(INVALID_TOKEN)
        environment, keys = found
        claims = _verified(token, keys)
        scopes = claims.get("scopes")
        granted = [scope for scope in scopes if isinstance(scope, str)] if isinstance(scopes, list) else []
        unnamed = environment._replace(member_name=None)  # whose it is, is not for the public
        scope = Scope.of_environment(unnamed, Ability.of_scopes(granted))
        once = digest(token) if claims.get("otu") is True else None
        return replace(scope, is_public=True, one_time_token=once, expires_at=claims["exp"])

    async def _of_access_token(self, token: str) -> Scope:
        membership = await self._federation.credentials.membership_by_token(token)
        if membership is None:
            raise UnauthenticatedError("the personal access token is not valid")
        return Scope.of_user(membership)

    async def _of_session(self, user_id: str) -> Scope:
        membership = await self._federation.credentials.membership_of(user_id)
        if membership is None:
            raise UnauthenticatedError("the session has ended")
        return Scope.of_user(membership)


class Asker:
    """Who presented a credential, asked again and again who they are: for what lasts longer than a request."""

    def __init__(self, authenticator: Authenticator, presented: Presented, origin: str = "") -> None:
        self._authenticator, self._presented, self._origin = authenticator, presented, origin
        self._last: tuple[float, Viewer] | None = None

    @property
    def name(self) -> str:
        """The hash of the credential, under which its streams are counted. Raises `UnauthenticatedError`."""
        return digest(self._authenticator.credential(self._presented))

    async def viewer(self) -> Viewer:
        """Return a viewer with fresh loaders that reads from primaries. Raises as `Authenticator.viewer` does.

        While nobody can say who they are, they are who they were, for `TRUSTED` seconds.
        """
        clock = asyncio.get_running_loop().time
        known = self._last[1] if self._last is not None and clock() - self._last[0] <= TRUSTED else None
        try:
            async with asyncio.timeout(None if known is None else PATIENCE):
                viewer = await self._authenticator.viewer(self._presented, self._origin)
            self._last = clock(), viewer
        except (ShardError, TimeoutError):
            if known is None:
                raise
            viewer = self._authenticator.again(known)
        viewer.wrote()
        return viewer


def _can_be_a_key(token: str) -> bool:
    return len(token) <= LONGEST_KEY and KEY.fullmatch(token) is not None


def _branch(header: str | None, scope: Scope) -> str | None:
    """Return which branch of a key's environment is meant; None for the environment itself, as most have no branches.

    Raises `UnauthenticatedError` for what cannot be a branch, and for a preview without one.
    """
    root = scope.environment
    if root is None or root.parent_environment_id is not None or root.type not in ("PREVIEW", "DEVELOPMENT"):
        return None
    if not header:
        if root.type == "PREVIEW":
            raise UnauthenticatedError("send an x-trigger-branch header: a preview's runs are in its branches")
        return None
    name = header.removeprefix("refs/heads/")
    if len(name) > LONGEST_BRANCH or not name.isprintable():
        raise UnauthenticatedError("the x-trigger-branch header names no branch")
    return None if root.type == "DEVELOPMENT" and name == "default" else name


def _subject(token: str) -> str:
    """Return which environment a public token says it is of, unverified. Raises `UnauthenticatedError`."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise UnauthenticatedError(INVALID_TOKEN) from error
    subject = claims.get("sub")
    if claims.get("pub") is not True or not isinstance(subject, str) or not can_exist(subject):
        raise UnauthenticatedError(INVALID_TOKEN)
    return subject


def _verified(token: str, keys: Collection[str]) -> dict[str, Any]:
    """Return the claims of a public token that one of the keys signed. Raises `UnauthenticatedError`.

    The platform's keys have 27 bytes and more: the library would warn of each that has less than 32.
    """
    for key in keys:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=["HS256"],
                    issuer=ISSUER,
                    audience=AUDIENCE,
                    leeway=CLOCK_SECONDS,
                    options={"require": ["exp", "sub", "iss", "aud"]},
                )
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError as error:
            raise UnauthenticatedError(EXPIRED) from error
        except (jwt.PyJWTError, ValueError) as error:
            raise UnauthenticatedError(INVALID_TOKEN) from error
        if type(claims["exp"]) not in (int, float):
            break
        return claims
    raise UnauthenticatedError(INVALID_TOKEN)


def _user_of(cookie: str, secret: str) -> str:
    """Return whose session a cookie is: the dashboard's own, signed with its secret. Raises `UnauthenticatedError`.

    A value in base64, a dot, and an HMAC-SHA256 of the value in base64 without padding: the platform's web framework
    signs so (npm's ``cookie-signature``). The value is JSON, with the user under ``user.userId``.
    """
    value, _, signature = unquote(cookie).rpartition(".")
    expected = base64.b64encode(hmac.digest(secret.encode(), value.encode(), "sha256")).decode().rstrip("=")
    try:
        if hmac.compare_digest(signature.encode(), expected.encode()):
            user_id = json.loads(base64.b64decode(value, validate=True))["user"]["userId"]
            if isinstance(user_id, str) and can_exist(user_id):
                return user_id
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        pass
    raise UnauthenticatedError("the session is not valid")
