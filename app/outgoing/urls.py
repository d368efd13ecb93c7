"""URLs that requests may be sent to."""

from urllib.parse import urlsplit

__all__ = ["fault_of"]


def fault_of(url: str) -> str | None:
    """What is wrong with a URL, whoever it leads to; None when nothing is."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must hold printable ASCII characters only, no spaces"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is none: {error}"
    if parts.scheme not in {"http", "https"}:
        return f"must start with http:// or https://, not with {parts.scheme!r}"
    if "@" in parts.netloc:
        return "must not hold a user name or password"
    if not parts.hostname or port == 0:
        return "must name a host, and a port other than 0 if any"
    return "must not have a fragment (#...)" if "#" in url else None
