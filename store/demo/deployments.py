"""What was deployed to an environment: versions of the code, their tasks, and the queues that those wait in."""

from collections.abc import Mapping

from store.demo.copying import line
from store.demo.mint import REGION, timestamp
from store.demo.palette import TASKS, TaskKind
from store.demo.places import DAY, HOUR, Place, Release, Schedule, Task
from store.demo.rows import Rows

AGES = (6 * HOUR, 9 * DAY, 40 * DAY)
"""How long ago each environment was deployed to, in milliseconds. What runs on a laptop is as old as the last one."""

SDK = "4.0.4"
RUNTIME = {"runtime": "node", "runtimeVersion": "22.16.0"}


def deploy(rows: Rows, anchor: int, place: Place, schedules: Mapping[str, TaskKind]) -> None:
    """Add what an environment has, and tell the place; `schedules` are those of its project, by id."""
    here = {"projectId": place.project_id, "runtimeEnvironmentId": place.id}
    local = place.type == "DEVELOPMENT"
    queues = _queues(rows, anchor, place)
    releases: dict[str, list[Release]] = {kind.slug: [] for kind in TASKS}
    newest = ""
    for age in AGES[-1:] if local else AGES:
        at = anchor - age
        version = f"{timestamp(at)[:10].replace('-', '')}.1"
        worker = _worker(rows, at, place, version)
        if not local:
            deployment = _deployment(rows, at, place, version, worker)
            promotion = {"label": "current", "deploymentId": deployment, "environmentId": place.id}
            if not newest:
                rows.add_timeless("WorkerDeploymentPromotion", at, **promotion)
        newest = newest or worker
        for kind in TASKS:
            queue = queues[kind.queue_name]
            task = rows.add(
                "BackgroundWorkerTask",
                at,
                "task",
                slug=kind.slug,
                filePath=f"src/trigger/{kind.slug}.ts",
                exportName=kind.export,
                triggerSource=kind.source,
                queueId=queue,
                maxDurationInSeconds=kind.max_seconds,
                workerId=worker,
                **here,
            )
            columns = line(version, SDK, SDK, task, worker, queue)
            releases[kind.slug].append(Release(at, columns, worker, task, queue))
    for kind in TASKS:
        rows.add_timeless(
            "TaskIdentifier",
            anchor - AGES[-1],
            slug=kind.slug,
            currentTriggerSource=kind.source,
            currentWorkerId=newest,
            firstSeenAt=timestamp(anchor - AGES[-1]),
            lastSeenAt=timestamp(anchor - AGES[0]),
            **here,
        )
        region, machine = (None, None) if local else (REGION, kind.machine)
        limits = (kind.max_attempts, kind.max_seconds, machine)
        columns = line(kind.slug, kind.queue_name, region or "main", region, *limits)
        place.tasks[kind.slug] = Task(kind, columns, tuple(releases[kind.slug]))
    for schedule, kind in schedules.items():
        instance = rows.add(
            "TaskScheduleInstance",
            anchor - AGES[-1],
            taskScheduleId=schedule,
            environmentId=place.id,
            projectId=place.project_id,
        )
        place.schedules.append(Schedule(kind, line(schedule, instance)))


def _queues(rows: Rows, anchor: int, place: Place) -> dict[str, str]:
    """Add the queues, and return their ids by name."""
    queues = {}
    for name in dict.fromkeys(kind.queue_name for kind in TASKS):
        named = not name.startswith("task/")
        queues[name] = rows.add(
            "TaskQueue",
            anchor - AGES[-1],
            "queue",
            name=name,
            type="NAMED" if named else "VIRTUAL",
            version="V2",
            concurrencyLimit=10 if named else None,
            paused=name == "imports" and place.type == "STAGING",
            projectId=place.project_id,
            runtimeEnvironmentId=place.id,
        )
    return queues


def _worker(rows: Rows, at: int, place: Place, version: str) -> str:
    """Add a version of the code, and return its id."""
    return rows.add(
        "BackgroundWorker",
        at,
        "worker",
        version=version,
        metadata={"packageVersion": SDK},
        contentHash=rows.secret(32),
        sdkVersion=SDK,
        cliVersion=SDK,
        engine="V2",
        **RUNTIME,
        projectId=place.project_id,
        runtimeEnvironmentId=place.id,
    )


def _deployment(rows: Rows, at: int, place: Place, version: str, worker: str) -> str:
    """Add how a version of the code came to an environment, and return its id."""
    return rows.add(
        "WorkerDeployment",
        at,
        "deployment",
        shortCode=rows.secret(8),
        version=version,
        status="DEPLOYED",
        type="MANAGED",
        contentHash=rows.secret(32),
        git={"branch": "main", "commitSha": rows.secret(40), "commitMessage": f"Release {version}"},
        deployedAt=timestamp(at + 95_000),
        **RUNTIME,
        workerId=worker,
        projectId=place.project_id,
        environmentId=place.id,
    )
