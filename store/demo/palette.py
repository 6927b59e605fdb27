"""What runs are about: tasks, payloads, outputs, errors, tags. Prepared once as COPY text, picked from by number."""

from dataclasses import dataclass
from functools import cached_property

from store.demo.copying import NULL, literal

JSON, SUPERJSON, TEXT = "application/json", "application/super+json", "text/plain"


def annotations(source: str, action: str, kind: str) -> str:
    """Return how a run came about."""
    return literal({"triggerSource": source, "triggerAction": action, "rootTriggerSource": source, "taskKind": kind})


@dataclass(frozen=True)
class TaskKind:
    """A task as its author declared it."""

    slug: str
    queue: str | None = None
    source: str = "STANDARD"
    machine: str = "small-1x"
    max_attempts: int = 3
    max_seconds: int | None = None

    @property
    def queue_name(self) -> str:
        """The queue that its runs wait in: a named one, or its own."""
        return self.queue or f"task/{self.slug}"

    @cached_property
    def how(self) -> str:
        """Annotations of a run that code triggered."""
        return annotations("sdk", "trigger", self.source)

    @property
    def export(self) -> str:
        """The name that its module exports it under."""
        first, *rest = self.slug.split("-")
        return first + "".join(word.capitalize() for word in rest)


FULFIL = TaskKind("fulfil-order", max_seconds=3600)
CHARGE = TaskKind("charge-card", "payments", max_attempts=5, max_seconds=120)
SHIP = TaskKind("ship-parcel", machine="micro")
LABEL = TaskKind("print-label", machine="micro")
IMPORT = TaskKind("import-catalog", "imports", machine="medium-1x", max_seconds=7200)
PRODUCT = TaskKind("import-product", "imports", machine="small-2x")
REFUND = TaskKind("approve-refund", max_seconds=86400)
REVIEW = TaskKind("review-refund", max_seconds=86400)
EMAIL = TaskKind("send-email", "emails", machine="micro", max_attempts=10)
RESIZE = TaskKind("resize-image", machine="large-1x", max_seconds=600)
REPORT = TaskKind("nightly-report", source="SCHEDULED", machine="medium-2x", max_attempts=1)
SYNC = TaskKind("sync-inventory", source="SCHEDULED", max_seconds=900)
ASSISTANT = TaskKind("support-assistant", source="AGENT", machine="small-2x", max_seconds=1800)
HOOK = TaskKind("handle-webhook", source="WEBHOOK", machine="micro", max_attempts=8)

TASKS = (FULFIL, CHARGE, SHIP, LABEL, IMPORT, PRODUCT, REFUND, REVIEW, EMAIL, RESIZE, REPORT, SYNC, ASSISTANT, HOOK)
EVERYDAY = (EMAIL, RESIZE, CHARGE, HOOK, ASSISTANT, SHIP, EMAIL, PRODUCT)
"""What runs that no scene needs are of; some more often than others."""


def _packet(value: object, kind: str = JSON) -> str:
    return f"{literal(value)}\t{kind}"


_DATED = {"values": {"placedAt": ["Date"], "total": ["bigint"]}}

PAYLOADS = (
    _packet({"orderId": "ord_1042", "customer": {"id": "cus_77", "plan": "pro"}, "lines": 3}),
    _packet({"to": "ada@example.com", "template": "welcome", "locale": "en"}),
    _packet(
        {"json": {"orderId": "ord_2001", "placedAt": "2026-08-01T09:30:00.000Z", "total": "129900"}, "meta": _DATED},
        SUPERJSON,
    ),
    _packet({"url": "https://example.com/images/9f2c.png", "widths": [320, 640, 1280], "format": "webp"}),
    _packet("https://example.com/feeds/catalog.csv", TEXT),
    _packet({"json": {"sku": "SKU-4711", "tags": ["a", "b"], "seenAt": None}}, SUPERJSON),
    _packet({}),
    _packet("First line\nSecond line, with a tab\tand a backslash \\", TEXT),
    _packet(
        {"message": "Where is my parcel?", "history": [{"role": "user", "text": "Hello \N{WAVING HAND SIGN}"}] * 4}
    ),
    _packet({"event": "invoice.paid", "data": {"id": "in_9", "amount": 4200, "currency": "eur"}, "attempt": 1}),
)
OUTPUTS = (
    _packet({"ok": True, "messageId": "msg_01"}),
    _packet(
        {"json": {"shippedAt": "2026-08-02T10:00:00.000Z"}, "meta": {"values": {"shippedAt": ["Date"]}}}, SUPERJSON
    ),
    _packet("done", TEXT),
    _packet({"imported": 412, "skipped": 3, "warnings": ["SKU-9 has no price"]}),
    _packet({"json": [1, 2, 3]}, SUPERJSON),
    f"{NULL}\t{JSON}",
)
NO_OUTPUT = f"{NULL}\t{JSON}"
METADATA = (
    NULL,
    literal({"progress": 1, "step": "done"}),
    NULL,
    literal({"progress": 0.4, "step": "upload", "files": ["a.csv", "b.csv"]}),
    NULL,
    literal({"user": {"id": 7, "name": "Ada"}, "retries": 0}),
)
TAGS = ("plan:free", "plan:pro", "plan:pro,priority", "plan:enterprise,eu", "plan:free,trial,us")

_STACK = (
    "    at charge (file:///app/src/trigger/charge.ts:41:11)\n    at async run (file:///app/src/trigger/charge.ts:12:5)"
)
ERRORS = (
    literal(
        {
            "type": "BUILT_IN_ERROR",
            "name": "CardDeclinedError",
            "message": "The card was declined",
            "stackTrace": f"CardDeclinedError: The card was declined\n{_STACK}",
        }
    ),
    literal(
        {
            "type": "BUILT_IN_ERROR",
            "name": "TypeError",
            "message": "Cannot read properties of undefined (reading 'id')",
            "stackTrace": f"TypeError: Cannot read properties of undefined (reading 'id')\n{_STACK}",
        }
    ),
    literal({"type": "STRING_ERROR", "raw": "upstream answered 503"}),
    literal({"type": "CUSTOM_ERROR", "raw": '{"code":"RATE_LIMITED","retryAfter":30}'}),
)


def internal_error(code: str, message: str) -> str:
    """Return an error that is the platform's and not the task's."""
    return literal({"type": "INTERNAL_ERROR", "code": code, "message": message})
