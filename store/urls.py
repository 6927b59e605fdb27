"""A database URL as the platform writes it, understood the way our driver needs it.

The platform's URLs carry parameters of its own client (``schema``, ``pgbouncer``, ``connection_limit``). They are
translated where they mean something to us, and dropped where they do not.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from store.errors import ConfigurationError

UNDERSTOOD = frozenset(
    {"host", "port", "user", "password", "passfile", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"}
)
"""Parameters that the driver reads from a URL as libpq does."""

HINT = "write postgresql://user:password@host:5432/database"


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """One database to connect to. `dsn` is secret; `setting` and `place` are what may be printed."""

    setting: str
    place: str
    dsn: str = field(repr=False)
    search_path: str | None = None
    through_pooler: bool = False
    pool_size: int = 10


def parse_url(setting: str, url: str) -> DatabaseUrl:
    """Return the database that a URL names, or raise `ConfigurationError` naming the setting, never the URL."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{setting} is not a URL", HINT) from error
    if parts.scheme not in ("postgres", "postgresql"):
        raise ConfigurationError(f"{setting} is not a postgresql:// URL", HINT)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = query.get("host") or parts.hostname
    database = unquote(parts.path.lstrip("/"))
    if not host or not database:
        raise ConfigurationError(f"{setting} names no {'database' if host else 'host'}", HINT)
    limit = query.get("connection_limit", "10")
    return DatabaseUrl(
        setting=setting,
        place=f"{host}{f':{port}' if port else ''}/{database}",
        dsn=urlunsplit(("postgresql", parts.netloc, quote(f"/{database}"), urlencode(_understood(query)), "")),
        search_path=query.get("schema"),
        through_pooler=query.get("pgbouncer") == "true",
        pool_size=int(limit) if limit.isascii() and limit.isdigit() and 0 < int(limit) <= MOST_CONNECTIONS else 10,
    )


MOST_CONNECTIONS = 200


def _understood(query: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name in UNDERSTOOD}
