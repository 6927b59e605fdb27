"""What is counted of a process's own work, for Prometheus. A federation has a registry of its own: tests open many."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The sweeper's counters, and those of who watches. No id and no name of a tenant is in any of them."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.repairs = Counter("runatlas_repairs", "What was left undone, and was done.", ["kind"], registry=registry)
        self.failures = Counter("runatlas_repair_failures", "Repairs that failed.", ["kind"], registry=registry)
        self.down = Gauge(
            "runatlas_sweeper_unswept", "Whether the last round could not ask a database.", ["shard"], registry=registry
        )
        self.leads = Gauge("runatlas_sweeper_leads", "Whether this process swept last.", registry=registry)
        self.last_success = Gauge(
            "runatlas_sweeper_last_success_seconds", "When a round last left nothing out.", registry=registry
        )
        self.rounds = Summary("runatlas_sweeper_round_seconds", "How long rounds took.", registry=registry)

        self.looks = Summary(
            "runatlas_live_look_seconds", "How long it took to look for changes.", ["database"], registry=registry
        )
        self.blind = Gauge(
            "runatlas_live_blind", "Whether the last look at a database failed.", ["database"], registry=registry
        )
        self.listening = Gauge(
            "runatlas_live_listening", "Whether other processes' wake-ups are heard.", ["database"], registry=registry
        )
        self.watches = Gauge("runatlas_live_watches", "Subscriptions that are open.", registry=registry)
        self.events = Counter("runatlas_live_events", "Events that were told to subscribers.", registry=registry)

    def text(self) -> bytes:
        """Return everything in the text format, `CONTENT_TYPE`."""
        return generate_latest(self.registry)
