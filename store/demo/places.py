"""Environments as runs see them: what a run's row repeats of the control plane's, as COPY text."""

from dataclasses import dataclass, field

from store.demo.palette import TaskKind

HOUR = 3_600_000
DAY = 24 * HOUR
"""In milliseconds."""


@dataclass(frozen=True, slots=True)
class Release:
    """A task in one version of the code: what a run is locked to when a machine takes it."""

    since: int
    columns: str
    """taskVersion, sdkVersion, cliVersion, lockedById, lockedToVersionId, lockedQueueId."""
    worker_id: str
    worker_task_id: str
    queue_id: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task in one environment, with its releases, the newest first."""

    kind: TaskKind
    columns: str
    """taskIdentifier, queue, masterQueue, region, maxAttempts, maxDurationInSeconds, machinePreset."""
    releases: tuple[Release, ...]

    def release(self, moment: int) -> Release:
        """Return the one that was current at a moment."""
        for release in self.releases:
            if release.since <= moment:
                return release
        return self.releases[-1]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule in one environment."""

    task: TaskKind
    columns: str
    """scheduleId, scheduleInstanceId."""


@dataclass(slots=True)
class Place:
    """An environment that runs are in."""

    id: str
    type: str
    project_id: str
    organization_id: str
    columns: str
    """runtimeEnvironmentId, environmentType, projectId, organizationId."""
    tasks: dict[str, Task] = field(default_factory=dict)
    schedules: list[Schedule] = field(default_factory=list)
