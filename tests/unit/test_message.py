from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from contract.message import LONGEST_SHORT_BYTES, QuarantineMessage, ResultMessage, schema_files

RESULT: dict[str, Any] = {
    "bucket": "processedframes-1",
    "key": "frames/cam/2026-01-01/00/s-000000017.jpg",
    "frame_index": 17,
    "detections_count": 1,
    "summary": [{"class": "person", "conf": 0.866, "bbox": [0.1, 0.2, 0.3, 0.4]}],
    "timestamp": "2026-01-01T00:00:00.000000Z",
    "stream_name": "cv2kinesis",
    "schema_version": 1,
    "bbox_format": "xywh_norm_topleft",
    "frame_id": "cam/s/000000017",
    "source": "cam",
    "captured_at": "2026-01-01T00:00:00.000000Z",
    "processed_at": "2026-01-01T00:00:00.000000Z",
    "shard_id": "shardId-000000000000",
    "sequence_number": "1",
    "image_width": 1280,
    "image_height": 720,
    "model": "yolov8n",
    "inference_ms": 12.5,
}


def test_the_schema_files_are_those_of_the_code() -> None:
    for path, text in schema_files().items():
        assert path.read_text() == text, f"{path.name} is out of date: `make schema`"


def test_a_message_round_trips_and_keeps_the_schema() -> None:
    body = ResultMessage.model_validate(RESULT).to_json()
    assert json.loads(body) == RESULT
    [schema] = [json.loads(text) for path, text in schema_files().items() if path.name.startswith("result")]
    jsonschema.validate(json.loads(body), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(RESULT | {"key": "frames/../../etc/passwd.jpg"}, schema)


def test_fields_may_be_added() -> None:
    assert ResultMessage.model_validate(RESULT | {"tracks": []}).frame_id == "cam/s/000000017"


@pytest.mark.parametrize(
    "change",
    [
        {"key": "frames/../x/2026-01-01/00/a.jpg"},
        {"key": "/etc/passwd"},
        {"key": "frames/a/./b.jpg"},
        {"key": "other/cam/2026-01-01/00/a.jpg"},
        {"key": "frames/a/b\n.jpg"},
        {"key": "frames/cam/2026-01-01/00/a.jpg\n"},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-13-01T00:00:00.000000Z"},
        {"timestamp": "2026-01-01T00:00:00.000000Z\n"},
        {"summary": [{"class": "person", "conf": 1.5, "bbox": [0, 0, 1, 1]}]},
        {"summary": [{"class": "person", "conf": 0.5, "bbox": [0, 0, 1]}]},
        {"schema_version": 2},
        {"whole_key": "frames/cam/2026-01-01/00/another.json"},
        {"whole_key": "state/x.json"},
        {"image_width": 0},
        {"lag_ms": 10**400},
        {"frame_index": 2**53},
        {"zones": [{"name": "yard", "count": 1, "classes": {"person": 10**4000}}]},
    ],
)
def test_hostile_messages_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ResultMessage.model_validate(RESULT | change)


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999"])
def test_what_is_no_number_of_json_is_refused(number: str) -> None:
    body = json.dumps(RESULT).replace('"inference_ms": 12.5', f'"inference_ms": {number}')
    assert number in body
    with pytest.raises(ValidationError):
        ResultMessage.model_validate_json(body)


def test_a_shortened_message_is_short_and_says_where_the_whole_is() -> None:
    longest = {"name": "n" * 64, "count": 1000}
    whole = ResultMessage.model_validate(
        RESULT
        | {"bucket": "b" * 63, "source": "s" * 128, "frame_id": "f" * 512, "model": "m" * 128, "stream_name": "n" * 128}
        | {"key": "frames/" + 4 * ("k" * 128 + "/") + "k" * 220 + ".jpg", "detections_count": 1000}
        | {"summary": [{"class": "ü" * 128, "conf": 0.123456, "bbox": [0.123456] * 4, "track_id": "t" * 64}] * 1000}
        | {"zones": [longest | {"classes": {f"{n:0128}": n for n in range(1000)}}] * 16}
        | {"lines": [{"name": "n" * 64} | dict.fromkeys(("in", "out", "in_total", "out_total"), 2**53 - 1)] * 16}
    )
    short = whole.shortened(str(whole.key))
    assert len(whole.to_json().encode()) > 2**20
    assert len(short.to_json().encode()) < LONGEST_SHORT_BYTES / 2
    assert (short.detections_count, short.summary) == (1000, ())
    assert [(zone.count, zone.classes) for zone in short.zones or ()] == [(1000, {})] * 16
    assert short.lines == whole.lines
    assert short.whole_key == str(whole.key).removesuffix(".jpg") + ".json"
    assert ResultMessage.model_validate_json(short.to_json()) == short


def test_a_notice_names_a_known_reason() -> None:
    notice = {
        "bucket": "b",
        "key": "quarantine/cam/2026-01-01/00/shardId-0-1.bin",
        "reason": "truncated",
        "detail": "no end-of-image marker",
        "frame_id": "cam/shardId-0/1",
        "source": "cam",
        "size": 3,
        "stream_name": "s",
        "shard_id": "shardId-0",
        "sequence_number": "1",
        "arrived_at": RESULT["timestamp"],
        "quarantined_at": RESULT["timestamp"],
    }
    assert QuarantineMessage.model_validate(notice).reason == "truncated"
    with pytest.raises(ValidationError):
        QuarantineMessage.model_validate(notice | {"reason": "because"})
