"""Who the runs belong to: people, their organizations, projects and environments. The rows are the control plane's."""

from dataclasses import dataclass, field
from hashlib import sha256

from store.demo.copying import line
from store.demo.deployments import deploy
from store.demo.palette import SYNC, TASKS, TaskKind
from store.demo.places import DAY, Place
from store.demo.rows import Rows

BRANCHES = ("feature/checkout", "fix/retries")
PREFIXES = {"PRODUCTION": "prod", "STAGING": "stg", "DEVELOPMENT": "dev", "PREVIEW": "preview"}


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization, and its members' ids."""

    id: str
    members: tuple[str, ...]


@dataclass
class Tenants:
    """The control plane of a demo. The first place is the one that most runs are in, and its key the credential."""

    seed: int
    anchor: int
    places: list[Place] = field(default_factory=list)
    api_key: str = ""
    user_id: str = ""
    access_token: str = ""
    """A personal access token of that user, who is in both organizations."""

    def __post_init__(self) -> None:
        self.rows = Rows(self.seed)
        people = ("Ada Lovelace", "Grace Hopper", "Katherine Johnson")
        ada, grace, katherine = (self._user(name) for name in people)
        self.user_id = ada
        acme = self._organization("acme", "Acme", {ada: "ADMIN", grace: "MEMBER"}, {"runOpsMintKind": "runOpsId"})
        globex = self._organization("globex", "Globex", {katherine: "ADMIN", ada: "MEMBER"}, None)
        for slug, name, owner in (("store", "Store", acme), ("warehouse", "Warehouse", acme), ("lab", "Lab", globex)):
            self._project(slug, name, owner)
        self.access_token = self._access_token(ada)

    def _access_token(self, user: str) -> str:
        token = f"tr_pat_{self.rows.secret(40)}"
        self.rows.add(
            "PersonalAccessToken",
            self.anchor - 60 * DAY,
            name="demo",
            userId=user,
            obfuscatedToken=f"{token[:9]}...{token[-4:]}",
            encryptedToken={},
            hashedToken=sha256(token.encode()).hexdigest(),
        )
        return token

    def _user(self, name: str) -> str:
        first = name.partition(" ")[0]
        return self.rows.add(
            "User",
            self.anchor - 90 * DAY,
            email=f"{first.lower()}@example.com",
            name=name,
            displayName=first,
            authenticationMethod="MAGIC_LINK",
        )

    def _organization(self, slug: str, title: str, roles: dict[str, str], flags: dict[str, str] | None) -> Organization:
        at = self.anchor - 80 * DAY
        id_ = self.rows.add("Organization", at, slug=slug, title=title, v3Enabled=True, featureFlags=flags)
        members = [
            self.rows.add("OrgMember", at, organizationId=id_, userId=user, role=role) for user, role in roles.items()
        ]
        return Organization(id_, tuple(members))

    def _project(self, slug: str, name: str, owner: Organization) -> None:
        id_ = self.rows.add(
            "Project",
            self.anchor - 70 * DAY,
            slug=slug,
            name=name,
            externalRef=f"proj_{self.rows.secret(20)}",
            organizationId=owner.id,
            version="V3",
            engine="V2",
        )
        schedules = self._schedules(id_, slug)
        limited: dict[str, object] = {"paused": True, "pauseSource": "BILLING_LIMIT"} if slug == "lab" else {}
        self._deployed(self._environment(id_, owner, "prod", "PRODUCTION"), schedules)
        self._deployed(self._environment(id_, owner, "stg", "STAGING", **limited), schedules)
        for member in owner.members:
            self._deployed(self._environment(id_, owner, "dev", "DEVELOPMENT", orgMemberId=member))
        root = self._environment(id_, owner, "preview", "PREVIEW", isBranchableEnvironment=True)
        for branch in BRANCHES:
            git = {"provider": "github", "branch": branch, "commitSha": self.rows.secret(40)}
            child = {"parentEnvironmentId": root.id, "branchName": branch, "git": git}
            self._deployed(self._environment(id_, owner, f"preview-{branch.replace('/', '-')}", "PREVIEW", **child))

    def _environment(self, project: str, owner: Organization, slug: str, type_: str, /, **values: object) -> Place:
        """Add an environment, and return it as a place where nothing is yet."""
        key, prefix = self.rows.secret(24), PREFIXES[type_]
        self.api_key = self.api_key or f"tr_{prefix}_{key}"
        columns = ("orgMemberId", "parentEnvironmentId", "branchName", "git", "pauseSource")
        defaults: dict[str, object] = {**dict.fromkeys(columns), "isBranchableEnvironment": False, "paused": False}
        id_ = self.rows.add(
            "RuntimeEnvironment",
            self.anchor - 70 * DAY,
            slug=slug,
            apiKey=f"tr_{prefix}_{key}",
            pkApiKey=f"pk_{prefix}_{key}",
            type=type_,
            shortcode=self.rows.secret(8),
            maximumConcurrencyLimit=25 if type_ == "PRODUCTION" else 5,
            projectId=project,
            organizationId=owner.id,
            **defaults | values,
        )
        return Place(id_, type_, project, owner.id, line(id_, type_, project, owner.id))

    def _deployed(self, place: Place, schedules: dict[str, TaskKind] | None = None) -> None:
        deploy(self.rows, self.anchor, place, schedules or {})
        self.places.append(place)

    def _schedules(self, project_id: str, slug: str) -> dict[str, TaskKind]:
        """Add a schedule for each task that has one, and return the tasks by the schedules' ids."""
        made = {}
        for kind in (kind for kind in TASKS if kind.source == "SCHEDULED"):
            hourly = kind is SYNC
            id_ = self.rows.add(
                "TaskSchedule",
                self.anchor - 50 * DAY,
                "sched",
                taskIdentifier=kind.slug,
                deduplicationKey=f"{slug}-{kind.slug}",
                userProvidedDeduplicationKey=True,
                generatorExpression="0 * * * *" if hourly else "30 2 * * *",
                generatorDescription="Every hour" if hourly else "At 02:30",
                timezone="UTC" if hourly else "Europe/Berlin",
                externalId=None if hourly else f"{slug}-report",
                type="DECLARATIVE" if hourly else "IMPERATIVE",
                projectId=project_id,
            )
            made[id_] = kind
        return made
