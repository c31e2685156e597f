"""The events: each has a start and an end that tell the same, and what they name is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from contract.event import EventMessage

# What the messages of one event have in common.
SAME = {"event", "rule", "source", "zone", "line", "direction", "started_at", "first_frame_id", "index_key"}


def examine_events(
    events: Iterable[EventMessage], stored: Collection[str], frames: Collection[str] | None = None
) -> list[str]:
    """One line for each problem.

    Args:
        events: Messages in any order; both phases of an event may come several times.
        stored: Keys under `events/`.
        frames: Keys of stored frames; None: not to be looked at.
    """
    known: dict[str, list[EventMessage]] = defaultdict(list)
    for event in events:
        known[event.event_id].append(event)
    problems = []
    for name, messages in known.items():
        phases = {message.phase for message in messages}
        if phases != {"start", "end"}:
            problems.append(f"event {name}: {' and '.join(phases)} alone")
        if len({message.model_dump_json(include=SAME) for message in messages}) > 1:
            problems.append(f"event {name}: its messages differ in what they have in common")
        if differing := _differing([message for message in messages if message.phase == "end"]):
            problems.append(f"event {name}: its ends differ: {differing}")
        keys = {messages[0].index_key} | {message.snapshot_key for message in messages if message.snapshot_key}
        problems += [f"event {name}: {key} is not stored" for key in sorted(keys) if key not in stored]
        named = {key for message in messages for key in (message.first_key, message.last_key) if key}
        problems += [f"event {name}: {key} is not stored" for key in sorted(named) if key not in (frames or named)]
    entries = {message.index_key for messages in known.values() for message in messages}
    problems += [f"{key}: of no event" for key in stored if key.endswith(".json") and key not in entries]
    return problems


def _differing(messages: list[EventMessage]) -> str:
    """What messages say differently, but when they were sent."""
    said = [message.model_dump(exclude={"sent_at"}) for message in messages]
    return "; ".join(
        f"{field}: {' or '.join(dict.fromkeys(str(one[field]) for one in said))}"
        for field in (said[0] if said else ())
        if any(one[field] != said[0][field] for one in said)
    )
