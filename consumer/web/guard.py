"""Who may see the page: this machine's users, or whoever has the token."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "cv2kinesis"
# Nothing from elsewhere, nothing inline; frames are images of ours.
HEADERS: Final = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hostname(host: str) -> str:
    """A Host header's name without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _cookies(headers: Headers) -> Iterator[str]:
    """The values of our cookie. Applications on other ports of this machine send theirs too, in forms that Python's
    parser of cookies gives up at, and perhaps under the same name for another path."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == COOKIE:
                yield unquote(value)


class Guard:
    """Lets requests pass that bear the token, in a cookie, an `Authorization` header or, once, in the address.

    Without a token only those that name this machine pass, so that no page elsewhere can have a browser ask us under
    a name of its own (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self._app
        if self._token is None:
            if not is_loopback(_hostname(headers.get("host", ""))):
                app = PlainTextResponse("this server answers under a loopback address only\n", 421)
        elif not self._has_token(headers):
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._is_token(given):
                response = RedirectResponse(scope["path"], 303)
                response.set_cookie(COOKIE, quote(given, safe=""), httponly=True, samesite="strict")
                app = response
            else:
                app = PlainTextResponse("a token is needed: open the address that `consumer web` printed\n", 401)
        try:
            await app(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # the server ends
            if not begun:
                await PlainTextResponse("the server ends\n", 503)(scope, receive, send_with_headers)

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given):
            return True
        return any(self._is_token(cookie) for cookie in _cookies(headers))

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())
