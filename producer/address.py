"""What may be told of a URL.

Cameras take passwords and tokens in every part of it: before the host, in the path, in the query. So only its scheme
and host are shown; whatever might be no host is not.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "srt")
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_HOST: Final = re.compile(r"(?:(?P<name>[a-z0-9._-]+)|\[(?P<ipv6>[0-9a-f:.]+)\])(?::\d{0,5})?", re.IGNORECASE)
# What looks like a URL with a slip of the pen: one slash or the colon too few, or no scheme.
_ALMOST_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*:/|.*:.*@", re.IGNORECASE | re.DOTALL)
# Makes a password that stands in a path hard to guess from the hash, which everybody may see.
_ROUNDS: Final = 100_000


def is_url(text: str) -> bool:
    """Whether a SOURCE is a URL of any kind."""
    return _URL.fullmatch(text) is not None


def scheme(url: str) -> str:
    """A URL's scheme, in small letters."""
    return url.partition(":")[0].lower()


def shown(text: str) -> str:
    """A SOURCE as it may be shown: a path as it is, a URL without anything that might be secret."""
    if is_url(text):
        host, _ = _parts(text)
        return f"{scheme(text)}://{host[0]}/…" if host else f"{scheme(text)}://…"
    return "…" if _ALMOST_URL.match(text) else text


def name_of(url: str) -> str:
    """A name for what a URL leads to: its host, and a hash of what follows. Another password gives no other name."""
    host, rest = _parts(url)
    digest = hashlib.pbkdf2_hmac("sha256", rest.encode(errors="surrogateescape"), b"cv2kinesis", _ROUNDS, 4).hex()
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', host[1]).strip('-.')[:100]}-{digest}" if host else f"camera-{digest}"


def _parts(url: str) -> tuple[tuple[str, str] | None, str]:
    """A URL's host with and without its port, and all that follows the user information.

    The host is None where it is not certain: a password that is not escaped may hold any character, and an `@` behind
    the first slash may stand before the host or in a query.
    """
    match = _URL.fullmatch(url)
    rest = match[2] if match else url
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:
        return None, rest
    host = _HOST.fullmatch(authority.rpartition("@")[2])
    if host is None:
        return None, rest
    return (host[0], host["name"] or host["ipv6"]), rest.removeprefix(authority.rpartition("@")[0]).removeprefix("@")
