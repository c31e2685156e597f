"""Connections that ask for nothing, which cost whoever opens them nothing."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

# A browser's request comes at once.
SILENT_SECONDS: Final = 10.0
# Far more than browsers open, and than the page's own work needs of a process's 1 024 descriptors.
MAX_CONNECTIONS: Final = 512


class Patient(H11Protocol):
    """HTTP with limits: a connection on which no request comes is closed, and so are those beyond the most.

    Uvicorn waits for ever for a connection's first request, and for the rest of a later one.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.cycle)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._timer.cancel()

    def _wait(self, before: Any) -> None:
        self._timer = self.loop.call_later(SILENT_SECONDS, self._look, before)

    def _look(self, before: Any) -> None:
        """Closes the connection if no request has come since, and none is being answered."""
        if self.cycle is before and (before is None or before.response_complete):
            self.transport.close()
        else:
            self._wait(self.cycle)
