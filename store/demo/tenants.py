"""Who the runs belong to: organizations, projects, environments, and what was deployed to them.

The rows are the control plane's. A run's row repeats some of them, so each environment carries them as COPY text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from store.demo.copying import Lines, Sheet, line
from store.demo.mint import REGION, Mint, timestamp
from store.demo.palette import SYNC, TASKS, TaskKind
from store.demo.places import DAY, HOUR, Place, Release, Schedule, Task

RELEASES = (6 * HOUR, 9 * DAY, 40 * DAY)
"""How long ago each environment was deployed to, in milliseconds."""

SDK = "4.0.4"
BRANCHES = ("feature/checkout", "fix/retries")
PREFIXES = {"PRODUCTION": "prod", "STAGING": "stg", "DEVELOPMENT": "dev", "PREVIEW": "preview"}


@dataclass(frozen=True, slots=True)
class Project:
    """A project before its rows are made; `members` are of its organization."""

    id: str
    slug: str
    organization_id: str
    members: tuple[str, ...]


@dataclass
class Tenants:
    """The control plane of a demo. The first place is the one that most runs are in, and its key the credential."""

    seed: int
    anchor: int
    places: list[Place] = field(default_factory=list)
    api_key: str = ""
    user_id: str = ""
    _rows: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    _serials: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def __post_init__(self) -> None:
        self._mint = Mint(self.seed, "control plane")
        ada, grace, katherine = (
            self._user(*person)
            for person in (("Ada Lovelace", "ada"), ("Grace Hopper", "grace"), ("Katherine Johnson", "katherine"))
        )
        self.user_id = ada
        acme = self._organization("acme", "Acme", {ada: "ADMIN", grace: "MEMBER"}, {"runOpsMintKind": "runOpsId"})
        globex = self._organization("globex", "Globex", {katherine: "ADMIN", ada: "MEMBER"}, None)
        for slug, name, owner in (("store", "Store", acme), ("warehouse", "Warehouse", acme), ("lab", "Lab", globex)):
            self._project(slug, name, *owner)

    def lines(self) -> Lines:
        """Return the rows, table by table, in an order that foreign keys allow."""
        return {
            Sheet(table, tuple(rows[0])): [line(*row.values()) for row in rows] for table, rows in self._rows.items()
        }

    def add(self, table: str, at: int, **values: object) -> str:
        """Add a row that was made at a moment, and return its id. Rows of one table have the same columns."""
        id_ = self.id(at)
        times = {"createdAt": timestamp(at), "updatedAt": timestamp(at)}
        friendly = {"friendlyId": f"{values.pop('prefix')}_{id_}"} if "prefix" in values else {}
        self._rows.setdefault(table, []).append({"id": id_, **friendly, **times, **values})
        return id_

    def id(self, at: int) -> str:
        """Return a new id of the control plane."""
        return self._mint.cuid(at, next(self._serials))

    def _secret(self, length: int) -> str:
        return sha256(f"{self.seed} secret {next(self._serials)}".encode()).hexdigest()[:length]

    def _user(self, name: str, handle: str) -> str:
        return self.add(
            "User",
            self.anchor - 90 * DAY,
            email=f"{handle}@example.com",
            name=name,
            displayName=name.partition(" ")[0],
            authenticationMethod="MAGIC_LINK",
        )

    def _organization(
        self, slug: str, title: str, roles: dict[str, str], flags: dict[str, str] | None
    ) -> tuple[str, tuple[str, ...]]:
        at = self.anchor - 80 * DAY
        id_ = self.add("Organization", at, slug=slug, title=title, v3Enabled=True, featureFlags=flags)
        members = (
            self.add("OrgMember", at, organizationId=id_, userId=user, role=role) for user, role in roles.items()
        )
        return id_, tuple(members)

    def _project(self, slug: str, name: str, organization_id: str, members: tuple[str, ...]) -> None:
        at = self.anchor - 70 * DAY
        id_ = self.add(
            "Project",
            at,
            slug=slug,
            name=name,
            externalRef=f"proj_{self._secret(20)}",
            organizationId=organization_id,
            version="V3",
            engine="V2",
        )
        project = Project(id_, slug, organization_id, members)
        schedules = self._schedules(project)
        for slug_, type_ in (("prod", "PRODUCTION"), ("stg", "STAGING")):
            self._deploy(project, self._environment(project, slug_, type_), type_, schedules)
        for member in members:
            environment = self._environment(project, "dev", "DEVELOPMENT", orgMemberId=member)
            self._deploy(project, environment, "DEVELOPMENT", {})
        root = self._environment(project, "preview", "PREVIEW", isBranchableEnvironment=True)
        for branch in BRANCHES:
            environment = self._environment(
                project,
                f"preview-{branch.replace('/', '-')}",
                "PREVIEW",
                parentEnvironmentId=root,
                branchName=branch,
                git={"provider": "github", "branch": branch, "commitSha": self._secret(40)},
            )
            self._deploy(project, environment, "PREVIEW", {})

    def _environment(self, project: Project, slug: str, type_: str, **values: object) -> str:
        key = self._secret(24)
        prefix = PREFIXES[type_]
        limited = type_ == "STAGING" and project.slug == "lab"
        optional = {
            "orgMemberId": None,
            "isBranchableEnvironment": False,
            "parentEnvironmentId": None,
            "branchName": None,
            "git": None,
        }
        id_ = self.add(
            "RuntimeEnvironment",
            self.anchor - 70 * DAY,
            slug=slug,
            apiKey=f"tr_{prefix}_{key}",
            pkApiKey=f"pk_{prefix}_{key}",
            type=type_,
            shortcode=self._secret(8),
            maximumConcurrencyLimit=25 if type_ == "PRODUCTION" else 5,
            organizationId=project.organization_id,
            projectId=project.id,
            paused=limited,
            pauseSource="BILLING_LIMIT" if limited else None,
            **optional | values,
        )
        self.api_key = self.api_key or f"tr_{prefix}_{key}"
        return id_

    def _schedules(self, project: Project) -> dict[str, TaskKind]:
        made = {}
        for kind in (kind for kind in TASKS if kind.source == "SCHEDULED"):
            hourly = kind is SYNC
            id_ = self.add(
                "TaskSchedule",
                self.anchor - 50 * DAY,
                prefix="sched",
                taskIdentifier=kind.slug,
                deduplicationKey=f"{project.slug}-{kind.slug}",
                userProvidedDeduplicationKey=True,
                generatorExpression="0 * * * *" if hourly else "30 2 * * *",
                generatorDescription="Every hour" if hourly else "At 02:30",
                timezone="UTC" if hourly else "Europe/Berlin",
                externalId=None if hourly else f"{project.slug}-report",
                type="DECLARATIVE" if hourly else "IMPERATIVE",
                projectId=project.id,
            )
            made[id_] = kind
        return made

    def _deploy(self, project: Project, environment: str, type_: str, schedules: dict[str, TaskKind]) -> None:
        """Add what was deployed to an environment, and the environment to the places."""
        here = {"projectId": project.id, "runtimeEnvironmentId": environment}
        queues = {}
        for name in dict.fromkeys(kind.queue_name for kind in TASKS):
            named = not name.startswith("task/")
            queues[name] = self.add(
                "TaskQueue",
                self.anchor - RELEASES[-1],
                prefix="queue",
                name=name,
                type="NAMED" if named else "VIRTUAL",
                version="V2",
                concurrencyLimit=10 if named else None,
                paused=name == "imports" and type_ == "STAGING",
                **here,
            )
        releases: dict[str, list[Release]] = {kind.slug: [] for kind in TASKS}
        newest = ""
        for number, age in enumerate(RELEASES if type_ != "DEVELOPMENT" else RELEASES[-1:]):
            worker = self._worker(project, environment, type_, self.anchor - age, len(RELEASES) - number)
            newest = newest or worker.worker_id
            for kind in TASKS:
                task_id = self.add(
                    "BackgroundWorkerTask",
                    worker.since,
                    prefix="task",
                    slug=kind.slug,
                    filePath=f"src/trigger/{kind.slug}.ts",
                    exportName=kind.export,
                    triggerSource=kind.source,
                    queueId=queues[kind.queue_name],
                    maxDurationInSeconds=kind.max_seconds,
                    workerId=worker.worker_id,
                    **here,
                )
                queue_id = queues[kind.queue_name]
                releases[kind.slug].append(
                    Release(
                        worker.since,
                        f"{worker.columns}\t{task_id}\t{worker.worker_id}\t{queue_id}",
                        worker.worker_id,
                        task_id,
                        queue_id,
                    )
                )
        for kind in TASKS:
            self._rows.setdefault("TaskIdentifier", []).append(
                {
                    "id": self.id(self.anchor - RELEASES[-1]),
                    **here,
                    "slug": kind.slug,
                    "currentTriggerSource": kind.source,
                    "currentWorkerId": newest,
                    "firstSeenAt": timestamp(self.anchor - RELEASES[-1]),
                    "lastSeenAt": timestamp(self.anchor - RELEASES[0]),
                }
            )
        instances = []
        for schedule, kind in schedules.items():
            instance = self.add(
                "TaskScheduleInstance",
                self.anchor - RELEASES[-1],
                taskScheduleId=schedule,
                environmentId=environment,
                projectId=project.id,
            )
            instances.append(Schedule(kind, f"{schedule}\t{instance}"))
        tasks = {
            kind.slug: Task(
                kind,
                line(
                    kind.slug,
                    kind.queue_name,
                    "main" if type_ == "DEVELOPMENT" else REGION,
                    None if type_ == "DEVELOPMENT" else REGION,
                    kind.max_attempts,
                    kind.max_seconds,
                    None if type_ == "DEVELOPMENT" else kind.machine,
                ),
                tuple(releases[kind.slug]),
            )
            for kind in TASKS
        }
        self.places.append(
            Place(
                environment,
                type_,
                project.id,
                project.organization_id,
                line(environment, type_, project.id, project.organization_id),
                tasks,
                tuple(instances),
            )
        )

    def _worker(self, project: Project, environment: str, type_: str, at: int, number: int) -> Release:
        """Add a version of the code and, unless it only runs on a laptop, its deployment."""
        version = f"{timestamp(at)[:10].replace('-', '')}.{number}"
        content_hash = self._secret(32)
        id_ = self.add(
            "BackgroundWorker",
            at,
            prefix="worker",
            version=version,
            metadata={"packageVersion": SDK, "contentHash": content_hash},
            contentHash=content_hash,
            sdkVersion=SDK,
            cliVersion=SDK,
            engine="V2",
            runtime="node",
            runtimeVersion="22.16.0",
            projectId=project.id,
            runtimeEnvironmentId=environment,
        )
        if type_ != "DEVELOPMENT":
            deployment = self.add(
                "WorkerDeployment",
                at,
                prefix="deployment",
                shortCode=self._secret(8),
                version=version,
                status="DEPLOYED",
                type="MANAGED",
                contentHash=content_hash,
                git={"branch": "main", "commitSha": self._secret(40), "commitMessage": f"Release {version}"},
                deployedAt=timestamp(at + 95_000),
                runtime="node",
                runtimeVersion="22.16.0",
                workerId=id_,
                projectId=project.id,
                environmentId=environment,
            )
            if at == self.anchor - RELEASES[0]:
                self._rows.setdefault("WorkerDeploymentPromotion", []).append(
                    {"id": self.id(at), "label": "current", "deploymentId": deployment, "environmentId": environment}
                )
        return Release(at, f"{version}\t{SDK}\t{SDK}", id_, "", "")
