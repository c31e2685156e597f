"""What endpoints answer where something is wrong: a status and one line."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from consumer.errors import ConsumerError, GoneError

# A picture that never changes.
JPEG_HEADERS: Final = {"cache-control": "private, max-age=3600, immutable"}

Endpoint = Callable[[Request], Awaitable[Response]]


def problem(status: int, text: str) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": text}, status)


def number(text: str, most: int) -> int | None:
    """A number from 0 to `most` as a request gives it; None if it is none. Nobody needs more than nine digits."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        return None
    return int(text) if int(text) <= most else None


def limit_of(request: Request, usual: str, most: int) -> int:
    """How many a request asks for.

    Raises:
        ValueError: If that is no number from 1 to `most`.
    """
    limit = number(request.query_params.get("limit", usual), most)
    if not limit:
        raise ValueError(f"limit: a number from 1 to {most} is allowed")
    return limit


def answering(endpoint: Endpoint) -> Endpoint:
    """Has an endpoint answer for what it raises."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TimeoutError:
            return problem(504, "the service behind does not answer in time")
        except GoneError as error:
            return problem(404, str(error))
        except ConsumerError as error:
            return problem(502, str(error))
        except (ValueError, OverflowError) as error:
            return problem(422, str(error))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    return answer
