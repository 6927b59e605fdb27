"""What a credential may do in what it sees: everything, or what its scopes say.

The grammar is the platform's (``packages/core/src/v3/jwt.ts`` and its route builder): ``action:type[:id]``, where only
the first two colons divide, ``*`` is any action, ``all`` any type, and no id the whole type. A bare ``admin`` is
everything.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Resource(NamedTuple):
    """Something that a scope may name: all of a type, or one by its id."""

    type: str
    id: str | None = None


class Grant(NamedTuple):
    """One scope, taken apart."""

    action: str
    type: str
    id: str | None

    @classmethod
    def of(cls, scope: str) -> "Grant | None":
        """Return what a scope grants; None for one that grants nothing, such as an action of no type."""
        action, separator, rest = scope.partition(":")
        if not separator:
            return cls("*", "all", None) if scope == "admin" else None
        if action == "admin":
            return None
        type_, has_id, id_ = rest.partition(":")
        return cls(action, type_, id_ if has_id else None) if type_ and (id_ or not has_id) else None

    def covers(self, action: str, resource: Resource) -> bool:
        """Tell whether it grants an action on a resource."""
        return (
            self.action in (action, "*")
            and self.type in (resource.type, "all")
            and (self.id is None or self.id == resource.id)
        )


@dataclass(frozen=True, slots=True)
class Ability:
    """What may be done. `grants` is None where everything may."""

    grants: tuple[Grant, ...] | None = None

    @classmethod
    def of_scopes(cls, scopes: Iterable[str]) -> "Ability":
        """Return what scopes grant together; of none, nothing."""
        return cls(tuple(grant for scope in scopes if (grant := Grant.of(scope)) is not None))

    @property
    def is_limited(self) -> bool:
        """Whether there is anything that may not be done."""
        return self.grants is not None

    def allows(self, action: str, resources: Iterable[Resource]) -> bool:
        """Tell whether an action is granted on any one of several names of the same thing."""
        if self.grants is None:
            return True
        return any(grant.covers(action, resource) for resource in resources for grant in self.grants)


EVERYTHING = Ability()
"""What a secret key and a member may do."""
