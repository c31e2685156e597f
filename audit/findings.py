"""The comparison: each accepted frame must have one outcome, and nothing else may exist.

A frame of which the producer had no answer may have one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contract.ledger import Accepted
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage, TallyMessage, whole_key


@dataclass
class Findings:
    """The result of an audit.

    Attributes:
        accepted: Frames that the stream has taken; one without its answer counts if there is anything of it.
        duplicates: Messages after the first of a frame; they are allowed and counted.
        problems: One line for each problem; none means that nothing is lost or invented.
    """

    accepted: int = 0
    stored: int = 0
    announced: int = 0
    quarantined: int = 0
    skipped: int = 0
    tallied: int = 0
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
    tallies: Sequence[TallyMessage] = (),
) -> Findings:
    """Compares the accepted frames with their outcomes.

    Args:
        objects: Every key of these sources, with the hash of its record.
        results, notices, skipped, tallies: Messages in the order in which their queues delivered them.
    """
    ledger = {frame.frame_id: frame for frame in accepted}
    findings = Findings()
    messages = Counter(result.frame_id for result in results)
    reasons = Counter(notice.frame_id for notice in notices)
    processed = _first_times(results, notices)
    # A frame that is on the stream twice may be too old, and then come again younger: an outcome wins that comes later.
    final = [message for message in skipped if message.skipped_at >= processed.get(message.frame_id, "")]
    passed_over = Counter(message.frame_id for message in final)
    counted = _examine_tallies(ledger, messages.keys() | reasons.keys() | passed_over.keys(), tallies, findings)
    for frame in ledger.values():
        _examine_frame(frame, objects, messages, reasons, passed_over, counted, findings)
    every = sum((messages, reasons, passed_over), Counter[str]())
    findings.duplicates = sum(every.values()) - len(every) + len(skipped) - len(final)
    findings.duplicates += len(tallies) - len({tally.tally_id for tally in tallies})
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
    counted: Counter[str],
    findings: Findings,
) -> None:
    name, problems = frame.frame_id, findings.problems
    kinds = (("result", messages), ("notice", reasons), ("skipped", passed_over), ("tally", counted))
    outcomes = [kind for kind, found in kinds if name in found]
    if not (frame.answered or outcomes or frame.is_stored(objects)):
        return  # the stream has not taken it
    findings.accepted += 1
    if len(outcomes) != 1 or counted[name] > 1:
        said = " and ".join(outcomes) if len(outcomes) != 1 else "two tallies"
        problems.append(f"{name}: {said or 'lost: no message of any kind'}")
        return
    [outcome] = outcomes
    if objects.get(frame.key, frame.sha256) != frame.sha256:
        problems.append(f"{name}: {frame.key} was made of another record")
    findings.stored += frame.key in objects
    if outcome == "tally":
        findings.tallied += 1
        return
    if outcome == "skipped":
        findings.skipped += 1
        return
    findings.announced += outcome == "result"
    findings.quarantined += outcome == "notice"
    if outcome == "notice":
        key = frame.quarantine_key
        if key not in objects:
            problems.append(f"{name}: notice without its object {key}")
        elif objects[key] != frame.sha256:
            problems.append(f"{name}: {key} was made of another record")
        findings.stored += key in objects
    other = frame.quarantine_key if outcome == "result" else frame.key
    if other in objects:
        problems.append(f"{name}: both {frame.key} and {frame.quarantine_key}")


def tallied_frames(
    accepted: Iterable[Accepted], tallies: Iterable[TallyMessage], others: Collection[str] = ()
) -> dict[str, list[str]]:
    """The frames that each tally counts, by its id: those from its first to its last one that have no message.

    Args:
        others: Frames that have one.
    """
    series: dict[str, list[Accepted]] = defaultdict(list)
    for frame in accepted:
        if frame.frame_id not in others:
            series[frame.frame_id.rpartition("/")[0]].append(frame)
    return {
        tally.tally_id: [
            frame.frame_id
            for frame in series[tally.tally_id.rpartition("/")[0]]
            if (tally.first_index or 0) <= (frame.index or 0) <= (tally.last_index or 0)
        ]
        for tally in tallies
    }


def _examine_tallies(
    ledger: Mapping[str, Accepted], others: Collection[str], tallies: Sequence[TallyMessage], findings: Findings
) -> Counter[str]:
    """In how many tallies each frame is."""
    said: dict[str, TallyMessage] = {}
    for tally in tallies:
        changing = {"sent_at": "", "worst_latency_ms": 0}
        if said.setdefault(tally.tally_id, tally).model_copy(update=changing) != tally.model_copy(update=changing):
            findings.problems.append(f"{tally.tally_id}: two tallies of one id differ")
    counted = Counter[str]()
    for name, frames in tallied_frames(ledger.values(), said.values(), others).items():
        counted.update(frames)
        if len(frames) != said[name].frames:
            findings.problems.append(f"{name}: its tally counts {said[name].frames} frames, there are {len(frames)}")
    return counted


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
        if message.key not in (None, key):
            found.append(f"{message.frame_id}: its message names {message.key} instead of {key}")
        if not isinstance(message, ResultMessage):
            continue
        if message.key is not None and key not in objects:
            found.append(f"{message.frame_id}: result without its object {key}")
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
