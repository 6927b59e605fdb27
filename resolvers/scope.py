"""What a credential shows: one environment, or everything that is in a user's organizations."""

from dataclasses import dataclass

from resolvers.ability import EVERYTHING, Ability
from store.credentials import Membership
from store.records import EnvironmentRecord, UserRecord


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows that may be seen: those of these environments, in these projects and organizations, by primary key."""

    environment_ids: frozenset[str]
    project_ids: frozenset[str]
    organization_ids: frozenset[str]
    environment: EnvironmentRecord | None = None
    """The environment that the credential belongs to, if it is one environment's."""
    user: UserRecord | None = None
    """Who asks, if it is a person."""
    ability: Ability = EVERYTHING
    """What may be done with those rows."""
    is_public: bool = False
    """Whether the credential is in the hands of the public: then it is shown no other credential."""
    one_time_token: str | None = None
    """The hash of the credential, if it may trigger once."""
    expires_at: float | None = None
    """When the credential ends, in seconds since 1970; None if that is not known."""

    @classmethod
    def of_environment(cls, own: EnvironmentRecord, ability: Ability = EVERYTHING) -> "Scope":
        """Return what a key of an environment shows."""
        return cls(
            frozenset([own.id]),
            frozenset([own.project_id]),
            frozenset([own.organization_id]),
            environment=own,
            ability=ability,
        )

    @classmethod
    def of_user(cls, membership: Membership) -> "Scope":
        """Return what a member of organizations sees."""
        organizations, projects, environments = (
            frozenset(id_ for id_ in ids if id_ is not None)
            for ids in (zip(*membership.places, strict=True) if membership.places else ((), (), ()))
        )
        return cls(environments, projects, organizations, user=membership.user)
