"""What the control plane knows, as everything above the store sees it. No secret is in any of them."""

from datetime import datetime
from typing import NamedTuple


class EnvironmentRecord(NamedTuple):
    """One environment, and what its project and organization say about its use. No secret."""

    id: str
    slug: str
    type: str
    shortcode: str
    branch_name: str | None
    paused: bool
    pause_source: str | None
    archived_at: datetime | None
    maximum_concurrency_limit: int
    concurrency_limit_burst_factor: float
    parent_environment_id: str | None
    project_id: str
    organization_id: str
    member_id: str | None
    member_user_id: str | None
    member_name: str | None

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"env_{self.id}"

    @property
    def user_name(self) -> str | None:
        """Whose development environment it is; ``Deleted`` when that member is gone. None for every other type."""
        if self.type != "DEVELOPMENT":
            return None
        return "Deleted" if self.member_id is None else self.member_name


class ProjectRecord(NamedTuple):
    """One project that is not deleted."""

    id: str
    slug: str
    name: str
    external_ref: str
    engine: str
    organization_id: str

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"project_{self.id}"


class OrganizationRecord(NamedTuple):
    """One organization that is not deleted."""

    id: str
    slug: str
    title: str

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"org_{self.id}"


class UserRecord(NamedTuple):
    """One person."""

    id: str
    email: str
    name: str | None
    chosen_name: str | None

    @property
    def friendly_id(self) -> str:
        """The id under which clients know it."""
        return f"user_{self.id}"

    @property
    def display_name(self) -> str | None:
        """The name to show: the one that was chosen, else the one that came with the account."""
        return self.chosen_name or self.name


class QueueLimits(NamedTuple):
    """What the control plane says of a queue."""

    environment_id: str
    name: str

    concurrency_limit: int | None
    paused: bool


class WorkerRecord(NamedTuple):
    """What runs a version: its runtime."""

    id: str
    environment_id: str
    runtime: str | None
    runtime_version: str | None
    version: str
    sdk_version: str
    cli_version: str


class DeploymentRecord(NamedTuple):
    """How a version was deployed."""

    id: str
    friendly_id: str
    short_code: str
    version: str
    status: str
    git: object
    environment_id: str
    worker_id: str | None


class ScheduleRecord(NamedTuple):
    """What triggers runs at times."""

    id: str
    friendly_id: str
    project_id: str
    external_id: str | None
    deduplication_key: str
    user_provided_deduplication_key: bool
    cron: str
    description: str
    timezone: str

    @property
    def own_deduplication_key(self) -> str | None:
        """The key that its creator gave it; the platform makes one up for the others."""
        return self.deduplication_key if self.user_provided_deduplication_key else None


class BulkActionRecord(NamedTuple):
    """One action on many runs."""

    id: str
    friendly_id: str
    environment_id: str | None
    name: str | None
    type: str
    status: str
    total_count: int
    success_count: int
    failure_count: int
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    params: object
    user_id: str | None

    @property
    def is_final(self) -> bool:
        """It is done, or was stopped."""
        return self.status in ("COMPLETED", "ABORTED")
