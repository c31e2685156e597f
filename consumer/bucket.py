"""The pipeline's bucket. Whoever may write to a queue chooses the bucket and the key in a message, so objects come from
this one alone, and no more of them than is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from cloud.errors import code_of
from consumer.errors import AccessError, GoneError, RefusedError
from consumer.results import ATTEMPTS, call

# An expired object is deleted, or archived where a lifecycle rule says so.
# The answer to HEAD has no body, so it names no other code than its status.
_GONE: Final = frozenset({"NoSuchKey", "InvalidObjectState", "404"})
_DENIED: Final = frozenset({"AccessDenied", "403"})


@dataclass(frozen=True, slots=True)
class Listed:
    """An object of a listing.

    Attributes:
        version: Changes when the object is overwritten.
        stored_at: In UTC, to the second.
    """

    key: str
    version: str
    stored_at: datetime


class Bucket:
    """A bucket to read from, and to put things away in.

    Args:
        s3: A client that does not retry by itself.
        attempts: Of each call, while S3 fails.
    """

    def __init__(self, s3: Any, name: str, *, attempts: int = ATTEMPTS) -> None:
        self._s3, self._name, self._attempts = s3, name, attempts
        self._has_read = False

    def where(self, key: str) -> str:
        """An object's address."""
        return f"s3://{self._name}/{key}"

    def check(self, what: str, bucket: str) -> None:
        """Checks the bucket that a message names.

        Args:
            what: Whose message it is, for people.

        Raises:
            RefusedError: If it is another one.
        """
        if bucket != self._name:
            raise RefusedError(f"{what} is said to be in another bucket than {self._name}")

    def read(self, key: str, limit: int) -> bytes:
        """Gives an object of at most `limit` bytes.

        Raises:
            GoneError: If it has expired or was deleted.
            RefusedError: If it is larger.
            ConsumerError: If it cannot be read.
        """
        content: bytes = self._get(key, lambda: self._s3.get_object(Bucket=self._name, Key=key)["Body"].read(limit + 1))
        if len(content) > limit:
            raise RefusedError(f"{self.where(key)}: more than {limit} bytes")
        return content

    def metadata(self, key: str) -> dict[str, str]:
        """Gives what was noted of an object when it was stored.

        Raises:
            GoneError, ConsumerError: As in `read`.
        """
        found: dict[str, str] = self._get(key, lambda: self._s3.head_object(Bucket=self._name, Key=key)["Metadata"])
        return found

    def listing(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """Lists objects in the order of their keys, as they are asked for: a thousand with each call.

        Args:
            after: Only keys after this one.

        Raises:
            ConsumerError: If the bucket cannot be listed.
        """
        for page in self._pages({"Prefix": prefix} | ({"StartAfter": after} if after else {})):
            for found in page.get("Contents", []):
                yield Listed(found["Key"], found["ETag"], found["LastModified"].astimezone(UTC))

    def folders(self, prefix: str) -> list[str]:
        """Gives the prefixes, up to the next slash, under which there are objects.

        Raises:
            ConsumerError: If the bucket cannot be listed.
        """
        pages = self._pages({"Prefix": prefix, "Delimiter": "/"})
        return [found["Prefix"] for page in pages for found in page.get("CommonPrefixes", [])]

    def _pages(self, request: dict[str, str]) -> Iterator[dict[str, Any]]:
        request = {"Bucket": self._name, **request}
        where = self.where(request["Prefix"])
        while True:
            page: dict[str, Any] = call(where, lambda: self._s3.list_objects_v2(**request), self._attempts)
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def copy(self, key: str, to: str) -> None:
        """Copies an object within the bucket, with its metadata and its tags.

        Raises:
            GoneError, ConsumerError: As in `read`.
        """
        source = {"Bucket": self._name, "Key": key}
        self._get(key, lambda: self._s3.copy_object(Bucket=self._name, Key=to, CopySource=source))

    def delete(self, key: str) -> None:
        """Deletes an object."""
        call(self.where(key), lambda: self._s3.delete_object(Bucket=self._name, Key=key))

    def _get(self, key: str, work: Callable[[], Any]) -> Any:
        def get() -> Any:
            try:
                return work()
            except ClientError as error:
                if self._means_gone(key, error):
                    raise GoneError(f"{self.where(key)}: {code_of(error)}") from None
                raise

        found = call(self.where(key), get, self._attempts)
        self._has_read = True
        return found

    def _means_gone(self, key: str, error: ClientError) -> bool:
        """Whether an object is gone. To a caller who may not list the whole bucket, S3 says `AccessDenied` instead of
        `NoSuchKey`: its right to list a prefix alone has a condition on a parameter that no reading has. So the object
        is looked for in a listing. Where that is not allowed either, whoever has read another object of the bucket is
        not meant by it.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        code = code_of(error)
        if code not in _DENIED:
            return code in _GONE
        try:
            first = next(self.listing(key), None)  # the key itself comes before all that begin with it
        except AccessError:
            return self._has_read and error.operation_name != "CopyObject"  # which may lack a right to write
        return first is None or first.key != key
