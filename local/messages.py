"""The messages of one queue of the embedded SQS, each found without a look at the others.

moto keeps a list and walks all of it at each receipt, deletion and question for a queue's length, several times over;
with ten thousand messages that nobody takes, an answer lasts seconds and holds up every other service of the process.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator

from moto.core.utils import unix_time_millis
from moto.sqs.models import Message


class Messages:
    """Messages that can be received, in the order in which they were sent, and those that cannot yet.

    It stands in for moto's list, so it has the methods of a list that moto's other code calls. Threads may share it.
    """

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._lock = threading.RLock()
        self._arrivals: dict[Message, int] = {}
        self._number = itertools.count()
        self._handles: dict[str, Message] = {}
        # Heaps by arrival and by the time at which a message can be received. An entry counts only while the message
        # is in the set, or under that time in the dictionary, beside it: what moves on leaves its old entry behind.
        self._ready: list[tuple[int, Message]] = []
        self._is_ready: set[Message] = set()
        self._later: list[tuple[float, int, Message]] = []
        self._due: dict[Message, float] = {}
        self._delayed: set[Message] = set()
        # In flight, by FIFO group: the others of such a group have to wait.
        self._groups: Counter[str] = Counter()
        for message in messages:
            self.append(message)

    def __iter__(self) -> Iterator[Message]:
        with self._lock:
            return iter(list(self._arrivals))

    def __len__(self) -> int:
        return len(self._arrivals)

    def append(self, message: Message) -> None:
        """Adds one that was sent, or that another queue gave up."""
        with self._lock:
            self._arrivals[message] = next(self._number)
            for handle in filter(None, message.all_receipt_handles):
                self._handles[handle] = message
            self._place(message)

    def remove(self, message: Message) -> None:
        """Forgets a message and its receipt handles."""
        with self._lock:
            self._displace(message)
            del self._arrivals[message]
            for handle in filter(None, message.all_receipt_handles):
                self._handles.pop(handle, None)

    def of(self, receipt_handle: str) -> Message | None:
        """The message that was ever received with this handle and is still here."""
        return self._handles.get(receipt_handle)

    def take(self, number: int, visibility_timeout: int, *, retention: int, fifo: bool) -> list[Message]:
        """Receives at most so many; they are in flight for so many seconds.

        Args:
            retention: Seconds after which a message is dropped instead.
            fifo: While one of a group is in flight, the others of that group wait.
        """
        taken: list[Message] = []
        blocked: list[Message] = []
        with self._lock:
            self._wake()
            while self._ready and len(taken) < number:
                _, message = heapq.heappop(self._ready)
                if message not in self._is_ready:
                    continue
                self._is_ready.discard(message)
                if _sent(message) + retention * 1000 <= unix_time_millis():
                    self.remove(message)
                elif fifo and message.group_id and self._groups[message.group_id]:
                    blocked.append(message)
                else:
                    taken.append(message)
            for message in taken:
                message.mark_received(visibility_timeout=visibility_timeout)
                assert message.receipt_handle is not None
                self._handles[message.receipt_handle] = message
            for message in (*taken, *blocked):
                self._place(message)
        return taken

    def change_visibility(self, message: Message, seconds: int) -> None:
        """Hides a message for so long from now on; 0 shows it."""
        with self._lock:
            self._displace(message)
            message.change_visibility(seconds)
            self._place(message)

    def count(self) -> tuple[int, int, int]:
        """How many can be received, are delayed, are in flight."""
        with self._lock:
            self._wake()
            ready, delayed = len(self._is_ready), len(self._delayed)
            return ready, delayed, len(self._arrivals) - ready - delayed

    def ready(self) -> list[Message]:
        """Those that can be received, in their order."""
        with self._lock:
            self._wake()
            return sorted(self._is_ready, key=self._arrivals.__getitem__)

    def _place(self, message: Message) -> None:
        due, now = max(message.visible_at, message.delayed_until), unix_time_millis()
        if due <= now:
            self._is_ready.add(message)
            heapq.heappush(self._ready, (self._arrivals[message], message))
            return
        self._due[message] = due
        heapq.heappush(self._later, (due, self._arrivals[message], message))
        if message.delayed_until > now:
            self._delayed.add(message)
        elif message.group_id:
            self._groups[message.group_id] += 1

    def _displace(self, message: Message) -> None:
        self._is_ready.discard(message)
        if self._due.pop(message, None) is None:
            return
        if message in self._delayed:
            self._delayed.discard(message)
        elif message.group_id:
            self._groups[message.group_id] -= 1

    def _wake(self) -> None:
        """Moves on what can be received by now."""
        now = unix_time_millis()
        while self._later and self._later[0][0] <= now:
            due, _, message = heapq.heappop(self._later)
            if self._due.get(message) == due:
                self._displace(message)
                self._place(message)


def _sent(message: Message) -> int:
    """When, in milliseconds; moto declares it as nothing at first."""
    return int(message.sent_timestamp or 0)
