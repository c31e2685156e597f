"""The API's description, OpenAPI 3.1; a test asks the server whether it is true."""

from __future__ import annotations

from typing import Any, Final, get_args

from contract.event_rules import EventKind

MAX_LIMIT: Final = 500
MAX_EVENTS: Final = 2000

_NUMBER: Final = {"type": "number"}
_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_POINT: Final = {
    "description": "x, y as fractions of the image",
    "type": "array",
    "items": {"type": "number", "minimum": 0, "maximum": 1},
    "minItems": 2,
    "maxItems": 2,
}
_SUMMARY: Final = {
    "type": "object",
    "required": ["class", "conf", "bbox"],
    "properties": {
        "class": _TEXT,
        "conf": {"type": "number", "minimum": 0, "maximum": 1},
        "bbox": {
            "description": "x, y of the top left corner, width, height, as fractions of the image",
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 4,
            "maxItems": 4,
        },
        "track_id": _TEXT,
        "origin": {
            "description": "missing where every frame is looked at",
            "type": "string",
            "enum": ["detected", "tracked"],
        },
    },
}
_SCHEMAS: Final = {
    "Detection": {
        "type": "object",
        "required": ["frame_id", "source", "captured_at", "processed_at", "detections_count", "summary", "stored"],
        "properties": {
            "frame_id": _TEXT,
            "source": _TEXT,
            "frame_index": {"type": ["integer", "null"]},
            "captured_at": _TEXT,
            "processed_at": _TEXT,
            "detections_count": _COUNT,
            "summary": {"type": "array", "items": _SUMMARY},
            "image_width": _COUNT,
            "image_height": _COUNT,
            "model": _TEXT,
            "inference_ms": _NUMBER,
            "lag_ms": {"type": ["integer", "null"], "minimum": 0},
            "zones": {"type": "array", "items": {"type": "object"}},
            "lines": {"type": "array", "items": {"type": "object"}},
            "stored": {"description": "whether it has a picture", "type": "boolean"},
        },
    },
    "Source": {
        "type": "object",
        "required": [
            "name",
            "frames",
            "skipped",
            "senders",
            "fps",
            "latency_seconds",
            "silent_seconds",
            "classes",
            "latest_frame_id",
            "latest_picture_id",
        ],
        "properties": {
            "name": _TEXT,
            "frames": _COUNT,
            "skipped": {"description": "frames that were too old to look at, beside `frames`", **_COUNT},
            "senders": {"description": "producers that send under its name at a time; one is right", **_COUNT},
            "fps": {"type": "number", "minimum": 0},
            "latency_seconds": {"description": "from capture to this server", **_NUMBER},
            "lag_seconds": {"description": "of the worker behind the stream", "type": ["number", "null"], "minimum": 0},
            "silent_seconds": {"type": "number", "minimum": 0},
            "classes": {"type": "object", "additionalProperties": _COUNT},
            "latest_frame_id": _TEXT,
            "latest_picture_id": {"description": "its latest frame that is stored; empty if there is none", **_TEXT},
        },
    },
    "Event": {
        "type": "object",
        "required": [
            "path",
            "phase",
            "event_id",
            "event",
            "rule",
            "source",
            "zone",
            "line",
            "direction",
            "started_at",
            "ended_at",
            "captured_at",
            "frames",
            "most",
            "classes",
            "best",
            "has_picture",
        ],
        "properties": {
            "path": {"description": "its place in the addresses below", **_TEXT},
            "phase": {"enum": ["start", "end"]},
            "event_id": _TEXT,
            "event": {"enum": list(get_args(EventKind))},
            "rule": _TEXT,
            "source": _TEXT,
            "zone": {"type": ["string", "null"]},
            "line": {"type": ["string", "null"]},
            "direction": {"enum": ["in", "out", None]},
            "started_at": _TEXT,
            "ended_at": {"description": "null while it goes on", "type": ["string", "null"]},
            "captured_at": {"description": "how far it has come", **_TEXT},
            "frames": _COUNT,
            "most": {"description": "the most objects at once", **_COUNT},
            "classes": {"type": "array", "items": _TEXT},
            "best": {"description": "the frame that shows it best", "type": "object"},
            "has_picture": {"type": "boolean"},
        },
    },
    "Zone": {
        "type": "object",
        "required": ["name", "polygon"],
        "properties": {
            "name": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
            "polygon": {"type": "array", "items": _POINT, "minItems": 3, "maxItems": 64},
        },
        "additionalProperties": False,
    },
    "Line": {
        "type": "object",
        "required": ["name", "start", "end"],
        "properties": {
            "name": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
            "start": _POINT,
            "end": _POINT,
        },
        "additionalProperties": False,
    },
    "Error": {"type": "object", "required": ["error"], "properties": {"error": _TEXT}},
}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str, of: str) -> dict[str, Any]:
    return {"type": "object", "required": [name], "properties": {name: {"type": "array", "items": _ref(of)}}}


def _parameter(name: str, where: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema, "description": description}


def _limit(most: int, default: int) -> dict[str, Any]:
    return _parameter(
        "limit", "query", {"type": "integer", "minimum": 1, "maximum": most, "default": default}, "number"
    )


_NOT_FOUND: Final = {"404": _json("not there", _ref("Error"))}
_WRONG: Final = {"422": _json("a parameter is wrong", _ref("Error"))}
_BEHIND: Final = {
    "502": _json("the service behind refuses", _ref("Error")),
    "504": _json("the service behind does not answer in time", _ref("Error")),
}
_EVENT: Final = "{day}/{hour}/{source}/{event_id}"
_EVENT_PATH: Final = [
    _parameter(name, "path", _TEXT, "as an event's `path` says") for name in ("day", "hour", "source", "event_id")
]
_AROUND: Final = [
    *_EVENT_PATH,
    *(
        _parameter(name, "query", {"type": "integer", "minimum": 0, "maximum": 60, "default": 5}, f"seconds {name} it")
        for name in ("before", "after")
    ),
    _parameter(
        "boxes", "query", {"enum": ["0", "1"], "default": "1"}, "0: the stream's original frames, without boxes"
    ),
]
_SHAPES: Final = {
    "type": "object",
    "properties": {
        "zones": {"type": "array", "items": _ref("Zone"), "maxItems": 16},
        "lines": {"type": "array", "items": _ref("Line"), "maxItems": 16},
        "version": {"description": "of the settings that they were drawn over", "type": ["integer", "null"]},
    },
    "additionalProperties": False,
}
_HIDDEN: Final = {"403": _json("its source's settings hide what the frames show", _ref("Error"))}
_FRAME_ID: Final = _parameter("frame_id", "path", _TEXT, "slashes and all")

DESCRIPTION: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "cv2kinesis: what is seen", "version": "1", "license": {"name": "AGPL-3.0-only"}},
    "paths": {
        "/api/sources": {
            "get": {"summary": "all sources", "responses": {"200": _json("by name", _list("sources", "Source"))}}
        },
        "/api/sources/{name}/status": {
            "get": {
                "summary": "one source",
                "parameters": [_parameter("name", "path", _TEXT, "its id")],
                "responses": {"200": _json("the source", _ref("Source")), **_NOT_FOUND},
            }
        },
        "/api/sources/{name}/shapes": {
            "get": {
                "summary": "a source's zones and lines",
                "parameters": [_parameter("name", "path", _TEXT, "its id")],
                "responses": {"200": _json("zones, lines, and their version", _SHAPES), **_NOT_FOUND, **_BEHIND},
            },
            "put": {
                "summary": "change a source's zones and lines, with `--allow-configure` alone",
                "parameters": [_parameter("name", "path", _TEXT, "its id")],
                "requestBody": {"required": True, "content": {"application/json": {"schema": _SHAPES}}},
                "responses": {
                    "200": _json("the new version", {"type": "object", "properties": {"version": _COUNT}}),
                    "403": _json("nothing may be changed", _ref("Error")),
                    "409": _json("somebody else has changed the settings meanwhile", _ref("Error")),
                    "413": _json("too many bytes", _ref("Error")),
                    "415": _json("not JSON", _ref("Error")),
                    **_NOT_FOUND,
                    **_WRONG,
                    **_BEHIND,
                },
            },
        },
        "/api/sources/{name}/try": {
            "post": {
                "summary": "what zones and lines would have counted of the last minutes",
                "parameters": [_parameter("name", "path", _TEXT, "its id")],
                "requestBody": {"required": True, "content": {"application/json": {"schema": _SHAPES}}},
                "responses": {
                    "200": _json("crossings by line, objects by zone", {"type": "object"}),
                    "413": _json("too many bytes", _ref("Error")),
                    "415": _json("not JSON", _ref("Error")),
                    **_WRONG,
                    **_BEHIND,
                },
            }
        },
        "/api/detections": {
            "get": {
                "summary": "results, the latest first",
                "parameters": [
                    _parameter("source", "query", _TEXT, "only of this source"),
                    _parameter("class", "query", _TEXT, "only those with an object of this class"),
                    _parameter("before", "query", _TEXT, "only those that came before this frame"),
                    _limit(MAX_LIMIT, 50),
                ],
                "responses": {
                    "200": _json("results", _list("detections", "Detection")),
                    "422": _json("a parameter is wrong", _ref("Error")),
                },
            }
        },
        "/api/frames/{frame_id}": {
            "get": {
                "summary": "one result",
                "parameters": [_FRAME_ID],
                "responses": {"200": _json("the result", _ref("Detection")), **_NOT_FOUND},
            }
        },
        "/api/events": {
            "get": {
                "summary": "events by their start, the latest first",
                "parameters": [
                    _parameter(
                        "since", "query", _TIME, "started from then on, at most 8 days before `until`; default: 1 day"
                    ),
                    _parameter("until", "query", _TIME, "started before; default: now"),
                    _parameter("source", "query", _TEXT, "only of this source"),
                    _parameter("kind", "query", {"enum": list(get_args(EventKind))}, "only of this kind"),
                    _parameter("rule", "query", _TEXT, "only of this rule"),
                    _parameter("zone", "query", _TEXT, "only in this zone or across this line"),
                    _parameter("class", "query", _TEXT, "only with an object of this class"),
                    _limit(MAX_EVENTS, 500),
                ],
                "responses": {
                    "200": _json(
                        "events, whether there are more, and why none can be read",
                        {
                            "type": "object",
                            "required": ["events", "more", "problem"],
                            "properties": {
                                "events": {"type": "array", "items": _ref("Event")},
                                "more": {"type": "boolean"},
                                "problem": _TEXT,
                            },
                        },
                    ),
                    **_WRONG,
                    **_BEHIND,
                },
            }
        },
        f"/api/events/{_EVENT}": {
            "get": {
                "summary": "one event",
                "parameters": _EVENT_PATH,
                "responses": {"200": _json("the event", _ref("Event")), **_NOT_FOUND, **_BEHIND},
            }
        },
        f"/api/events/{_EVENT}/frames": {
            "get": {
                "summary": "the frames around an event",
                "parameters": _AROUND,
                "responses": {
                    "200": _json(
                        "where they come from, and when each was captured",
                        {
                            "type": "object",
                            "required": ["from", "frames"],
                            "properties": {
                                "from": {"enum": ["bucket", "stream"]},
                                "frames": {"type": "array", "items": _TEXT},
                            },
                        },
                    ),
                    **_HIDDEN,
                    **_NOT_FOUND,
                    **_WRONG,
                    **_BEHIND,
                },
            }
        },
        f"/api/events/{_EVENT}/clip": {
            "get": {
                "summary": "an event as a film",
                "parameters": _AROUND,
                "responses": {
                    "200": {"description": "the film", "content": {"video/mp4": {}}},
                    **_HIDDEN,
                    **_NOT_FOUND,
                    **_WRONG,
                    **_BEHIND,
                },
            }
        },
        f"/event-frames/{_EVENT}/{{number}}": {
            "get": {
                "summary": "one of the frames around an event",
                "parameters": [*_AROUND, _parameter("number", "path", {"type": "integer", "minimum": 0}, "from 0")],
                "responses": {
                    "200": {"description": "the picture", "content": {"image/jpeg": {}}},
                    **_HIDDEN,
                    **_NOT_FOUND,
                    **_WRONG,
                    **_BEHIND,
                },
            }
        },
        f"/event-pictures/{_EVENT}": {
            "get": {
                "summary": "an event's best frame",
                "parameters": _EVENT_PATH,
                "responses": {
                    "200": {"description": "the picture", "content": {"image/jpeg": {}}},
                    **_NOT_FOUND,
                    **_BEHIND,
                },
            }
        },
        "/frames/{frame_id}": {
            "get": {
                "summary": "an annotated frame",
                "parameters": [_FRAME_ID],
                "responses": {
                    "200": {"description": "the picture", "content": {"image/jpeg": {}}},
                    **_NOT_FOUND,
                    "502": _json("the bucket refuses it, or it is no picture", _ref("Error")),
                    "504": _json("the bucket does not answer in time", _ref("Error")),
                },
            }
        },
    },
    "components": {"schemas": _SCHEMAS},
}
