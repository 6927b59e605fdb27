"""A database URL as the platform writes it, understood the way our driver needs it.

The platform's URLs carry parameters of its own client (``schema``, ``pgbouncer``, ``connection_limit``). They are
translated where they mean something to us, and dropped where they do not. The driver is given a URL written anew from
what was understood, so that what is printed of a database is what is connected to.
"""

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from store.errors import ConfigurationError

UNDERSTOOD = frozenset({"passfile", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"})
"""Parameters that the driver reads from a URL as libpq does; those of the server and the account are decided here."""

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

HINT = "write postgresql://user:password@host:5432/database, and in the password %40 for @ and %2F for /"

MOST_CONNECTIONS = 200
MOST_PORTS = 65535

SERVER = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
NAME = re.compile(r"/.*|[^\s/:@?#%\\\[\]]+")
"""A socket's directory, or a host's name or IPv4 address."""


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
    """Return the database that a URL names, or raise `ConfigurationError` naming the setting, never the URL.

    As in libpq, a parameter `host`, `port`, `user` or `password` goes before what the URL says in front of the path,
    and the last `@` there ends the password.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError as error:
        raise ConfigurationError(f"{setting} is not a URL", HINT) from error
    if parts.scheme not in ("postgres", "postgresql"):
        raise ConfigurationError(f"{setting} is not a postgresql:// URL", HINT)
    query = {name: value for name, value in parse_qsl(parts.query) if value}
    account, _, server = parts.netloc.rpartition("@")
    host, port = _server(setting, server, query)
    database = unquote(parts.path.lstrip("/"))
    if not host or not database:
        raise ConfigurationError(f"{setting} names no {'database' if host else 'host'}", HINT)
    # A password with a slash in it would go on in the path, and be printed.
    if "@" in parts.path or not f"{host}{database}".isprintable():
        raise ConfigurationError(f"{setting} is not a URL", HINT)
    if query.get("sslmode", "prefer") not in SSL_MODES:
        raise ConfigurationError(
            f"{setting} has an sslmode that does not exist",
            f"it is one of {', '.join(SSL_MODES)}; require without sslrootcert verifies nothing",
        )
    through_pooler = query.get("pgbouncer", "").lower() in ("true", "1") or query.get("statement_cache_size") == "0"
    limit = query.get("connection_limit", "10")
    return DatabaseUrl(
        setting=setting,
        place=f"{_bracketed(host)}{f':{port}' if port else ''}/{database}",
        dsn=_dsn(_account(account, query), host, port or "5432", database, query),
        search_path=_search_path(setting, query.get("schema", "public"), through_pooler=through_pooler),
        through_pooler=through_pooler,
        pool_size=int(limit) if limit.isascii() and limit.isdigit() and 0 < int(limit) <= MOST_CONNECTIONS else 10,
    )


def _server(setting: str, server: str, query: dict[str, str]) -> tuple[str, str]:
    """Return the host, without brackets, or the socket's directory; and the port, which may be empty."""
    if any("," in text for text in (server, query.get("host", ""), query.get("port", ""))):
        raise ConfigurationError(
            f"{setting} names several hosts, which is not supported", "name the primary alone, or a proxy before them"
        )
    match = SERVER.fullmatch(server)
    host = query.get("host") or (unquote(match["six"] or match["name"]) if match else "")
    port = query.get("port") or (match["port"] if match else "") or ""
    is_port = not port or (port.isascii() and port.isdigit() and 0 < int(port) <= MOST_PORTS)
    if match is None or not is_port or (host and not NAME.fullmatch(host) and not _is_six(host)):
        raise ConfigurationError(f"{setting} is not a URL", HINT)
    return host, port


def _is_six(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("/") else host


def _account(account: str, query: dict[str, str]) -> str:
    """Return the user and the password, escaped."""
    user, _, password = account.partition(":")
    user = quote(query.get("user") or unquote(user), safe="")
    password = quote(query.get("password") or unquote(password), safe="")
    return f"{user}:{password}" if password else user


def _dsn(account: str, host: str, port: str, database: str, query: dict[str, str]) -> str:
    """Return the URL for the driver, in which everything is said once."""
    understood = {name: value for name, value in query.items() if name in UNDERSTOOD}
    if host.startswith("/"):
        server, understood = "", {"host": host, "port": port} | understood
    else:
        server = f"{_bracketed(quote(host, safe=':'))}:{port}"
    parameters = urlencode(understood, quote_via=quote, safe="/")
    front = f"{account}@{server}" if account else server
    return f"postgresql://{front}/{quote(database, safe='')}{'?' if parameters else ''}{parameters}"


def _search_path(setting: str, schema: str, *, through_pooler: bool) -> str | None:
    """Return the schema as an identifier, or None for the one that a database uses by itself."""
    if schema == "public":
        return None
    if through_pooler:
        raise ConfigurationError(
            f"{setting} asks a pooler for a schema other than public, which poolers refuse",
            "remove the parameter schema, and set the user's search_path in the database; or go round the pooler",
        )
    return '"' + schema.replace('"', '""') + '"'
