"""The one form in which times are written: UTC without saying so, cut to milliseconds, as the columns are."""

from datetime import UTC, datetime, timedelta

TICK = timedelta(milliseconds=1)


def now() -> datetime:
    """Return this moment."""
    moment = datetime.now(UTC).replace(tzinfo=None)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
