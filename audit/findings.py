"""The comparison: each accepted frame must have one outcome, and nothing else may exist."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contract.ledger import Accepted
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage, whole_key


@dataclass
class Findings:
    """The result of an audit.

    Attributes:
        duplicates: Messages after the first of a frame; they are allowed and counted.
        problems: One line for each problem; none means that nothing is lost or invented.
    """

    accepted: int = 0
    stored: int = 0
    announced: int = 0
    quarantined: int = 0
    skipped: int = 0
    duplicates: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every accepted frame has exactly one outcome."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The findings for programs."""
        return {**vars(self), "clean": self.clean}


def examine(
    accepted: Iterable[Accepted],
    objects: Mapping[str, str],
    results: Sequence[ResultMessage],
    notices: Sequence[QuarantineMessage] = (),
    skipped: Sequence[SkippedMessage] = (),
) -> Findings:
    """Compares the accepted frames with their outcomes.

    Args:
        objects: Every key of these sources, with the hash of its record.
        results, notices, skipped: Messages in the order in which their queues delivered them.
    """
    ledger = {frame.frame_id: frame for frame in accepted}
    findings = Findings(accepted=len(ledger))
    messages = Counter(result.frame_id for result in results)
    reasons = Counter(notice.frame_id for notice in notices)
    processed = _first_times(results, notices)
    # A frame that is on the stream twice may be too old, and then come again younger: an outcome wins that comes later.
    final = [message for message in skipped if message.skipped_at >= processed.get(message.frame_id, "")]
    passed_over = Counter(message.frame_id for message in final)
    for frame in ledger.values():
        _examine_frame(frame, objects, messages, reasons, passed_over, findings)
    every = sum((messages, reasons, passed_over), Counter[str]())
    findings.duplicates = sum(every.values()) - len(every) + len(skipped) - len(final)
    findings.problems += [f"{name}: announced, but never accepted" for name in every if name not in ledger]
    known = {key for frame in ledger.values() for key in (frame.key, frame.quarantine_key, whole_key(frame.key))}
    findings.problems += [f"{key}: stored, but of no accepted frame" for key in objects if key not in known]
    findings.problems += _disagreements(ledger, objects, [*results, *notices])
    findings.problems += _disorder(ledger, results)
    return findings


def _first_times(results: Iterable[ResultMessage], notices: Iterable[QuarantineMessage]) -> dict[str, str]:
    """When each frame was processed or quarantined first."""
    times = [(result.frame_id, result.processed_at) for result in results]
    times += [(notice.frame_id, notice.quarantined_at) for notice in notices]
    return dict(sorted(times, key=lambda named: named[1], reverse=True))


def _examine_frame(
    frame: Accepted,
    objects: Mapping[str, str],
    messages: Counter[str],
    reasons: Counter[str],
    passed_over: Counter[str],
    findings: Findings,
) -> None:
    name, problems = frame.frame_id, findings.problems
    outcomes = [
        kind for kind, found in (("result", messages), ("notice", reasons), ("skipped", passed_over)) if name in found
    ]
    if len(outcomes) != 1:
        problems.append(f"{name}: {' and '.join(outcomes) if outcomes else 'lost: no message of any kind'}")
        return
    [outcome] = outcomes
    if outcome == "skipped":
        findings.skipped += 1
        return
    key, other = (frame.key, frame.quarantine_key) if outcome == "result" else (frame.quarantine_key, frame.key)
    if key not in objects:
        problems.append(f"{name}: {outcome} without its object {key}")
    elif objects[key] != frame.sha256:
        problems.append(f"{name}: {key} was made of another record")
    if other in objects:
        problems.append(f"{name}: both {key} and {other}")
    findings.stored += key in objects
    findings.announced += outcome == "result"
    findings.quarantined += outcome == "notice"


def _disagreements(
    ledger: Mapping[str, Accepted],
    objects: Mapping[str, str],
    messages: Iterable[ResultMessage | QuarantineMessage],
) -> list[str]:
    """Messages that name the object of another frame or none, or whose count differs from their list."""
    found = []
    for message in messages:
        frame = ledger.get(message.frame_id)
        if frame is None:
            continue
        key = frame.key if isinstance(message, ResultMessage) else frame.quarantine_key
        if message.key != key:
            found.append(f"{message.frame_id}: its message names {message.key} instead of {key}")
        if not isinstance(message, ResultMessage):
            continue
        if message.whole_key is not None:
            if message.whole_key not in objects:
                found.append(f"{message.frame_id}: its whole message {message.whole_key} is not stored")
        elif message.detections_count != len(message.summary):
            found.append(f"{message.frame_id}: {message.detections_count} detections, {len(message.summary)} listed")
    return found


def _disorder(ledger: Mapping[str, Accepted], results: Iterable[ResultMessage]) -> list[str]:
    """Frames that were finished before an earlier frame of their source and session.

    This compares the times of processing, because a standard queue may deliver messages in another order. Only the
    first time of each frame counts: after a lease has moved, frames after the checkpoint are processed again.
    """
    latest: dict[str, int] = defaultdict(lambda: -1)
    seen: set[str] = set()
    found = []
    for result in sorted(results, key=lambda result: result.processed_at):
        if result.frame_id in seen or result.frame_id not in ledger or result.frame_index is None:
            continue
        seen.add(result.frame_id)
        series = result.frame_id.rpartition("/")[0]
        if result.frame_index < latest[series]:
            found.append(f"{result.frame_id}: after {latest[series]}")
        latest[series] = max(latest[series], result.frame_index)
    return found
