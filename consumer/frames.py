"""What a result points at in S3: the annotated frame, and the whole message where it was too long for the queue."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError

from consumer.bucket import Bucket
from consumer.errors import GoneError, RefusedError
from consumer.results import ATTEMPTS, Handler
from contract import Frame, FrameError
from contract.message import ResultMessage

# More than a frame has by default; a hostile message may name a larger object.
MAX_PICTURE_BYTES: Final = 32 * 1024 * 1024
# Above 1000 detections with the longest names, and the counts of 16 zones.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024


class Frames:
    """Reads what belongs to results, from the pipeline's bucket.

    Args:
        s3: A client that does not retry by itself.
        attempts: Of each call, while S3 fails.
    """

    def __init__(self, s3: Any, bucket: str, *, attempts: int = ATTEMPTS) -> None:
        self._bucket = Bucket(s3, bucket, attempts=attempts)

    def picture(self, result: ResultMessage) -> bytes:
        """Gives the annotated JPEG.

        Raises:
            GoneError: If it has expired, was deleted or never stored.
            RefusedError: If it lies in another bucket or is no JPEG.
            ConsumerError: If it cannot be read.
        """
        self._bucket.check(f"frame {result.frame_id}", result.bucket)
        if result.key is None:
            raise GoneError(f"{result.frame_id}: its source's settings do not have it stored")
        return read_picture(self._bucket, result.key)

    def whole(self, result: ResultMessage) -> tuple[ResultMessage, str]:
        """Gives the whole of a message that names a `whole_key`, parsed and as it is stored.

        Raises:
            ConsumerError: As in `picture`.
        """
        self._bucket.check(f"frame {result.frame_id}", result.bucket)
        key = str(result.whole_key)
        try:
            body = self._bucket.read(key, MAX_MESSAGE_BYTES).decode()
            whole = ResultMessage.model_validate_json(body)
        except (UnicodeDecodeError, ValidationError):
            raise RefusedError(f"{self._bucket.where(key)}: not a result") from None
        if (whole.frame_id, whole.bucket, whole.key) != (result.frame_id, result.bucket, result.key):
            raise RefusedError(f"{self._bucket.where(key)}: the result of another frame")
        return whole, body


def read_picture(bucket: Bucket, key: str) -> bytes:
    """Gives a picture of the pipeline's: a JPEG.

    Raises:
        ConsumerError: As in `Frames.picture`.
    """
    jpeg = bucket.read(key, MAX_PICTURE_BYTES)
    try:
        Frame.parse(jpeg, max_pixels=sys.maxsize, max_bytes=MAX_PICTURE_BYTES)
    except FrameError as error:
        raise RefusedError(f"{bucket.where(key)}: {error}") from None
    return jpeg


def of_whole_messages(frames: Frames, handle: Handler) -> Handler:
    """Has a handler get whole messages; the short one where the whole is gone."""

    def handle_whole(result: ResultMessage, body: str) -> None:
        if result.whole_key is not None:
            with suppress(GoneError):
                result, body = frames.whole(result)
        handle(result, body)

    return handle_whole
