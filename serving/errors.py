"""The one shape of every error: `{"error": {"code", "message", "field"}}`.

Neither message nor field ever quotes what was sent: messages are written here or in `stalkscreen.schema`, and a field
path is made of our own field names and positions only, never of a caller's key.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stalkscreen.errors import RequestError
from stalkscreen.schema import MAX_NARRATIVE_CHARS, PERSON_FIELDS, Incident

BY_STATUS: dict[int, tuple[str, str]] = {
    400: ("malformed_json", "The body is not valid JSON."),
    404: ("not_found", "There is no such address here. /docs.json lists the ones there are."),
    405: ("method_not_allowed", "This address does not take this method; the Allow header names those it takes."),
    413: ("body_too_large", "The body is too large: at most 1 MiB for /v1/screen, 10 MiB for /v1/screen_batch."),
    415: ("not_json", "The body must be JSON, sent with Content-Type: application/json and no Content-Encoding."),
    422: ("request_invalid", "The request is not as /docs.json describes it."),
    429: ("too_many_requests", "Too many requests are being answered at once. Wait a second and send it again."),
    500: ("internal_error", "Something went wrong here. Nothing was kept; the log has the time and the place."),
    503: ("model_loading", "The model is being loaded. Try again in a few seconds; /readyz says when."),
    504: ("timeout", "There was no answer within 30 seconds. Send fewer or shorter incidents at once."),
}
"""Status to default code and message; what is not listed is answered as 500 or, below 500, as 422."""

_TYPES = {
    "string_type": "text in quotation marks",
    "datetime_type": "an ISO 8601 date and time in quotation marks",
    "list_type": "a list",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dict_type": "an object",
}
_FIELDS = frozenset(Incident.model_fields) | frozenset(PERSON_FIELDS) | {"incidents"}


def error_body(status: int, code: str | None = None, message: str | None = None, field: str | None = None) -> bytes:
    """The JSON body of an error; code and message default to those of `status`."""
    known = BY_STATUS.get(status) or BY_STATUS[500 if status >= 500 else 422]
    error = {"code": code or known[0], "message": message or known[1], "field": field}
    return json.dumps({"error": error}, ensure_ascii=False).encode()


def is_error_body(body: bytes) -> bool:
    """Whether `body` already has the one shape."""
    try:
        error = json.loads(body)["error"]
        return isinstance(error, dict) and set(error) == {"code", "message", "field"}
    except (ValueError, KeyError, TypeError, IndexError):
        return False


def refusal(status: int, message: str | None = None, code: str | None = None, field: str | None = None) -> RequestError:
    """A `RequestError` with the default code and message of `status` where none is given."""
    known = BY_STATUS[status]
    return RequestError(message or known[1], status=status, code=code or known[0], field=field)


def from_validation(error: ValidationError, document: Any) -> RequestError:
    """The first problem that pydantic found, in our words.

    Args:
        error: What pydantic raised while reading `document`.
        document: The parsed body, looked at only to tell an empty narrative from one that is too long.
    """
    problems = error.errors(include_url=False, include_context=True, include_input=False)
    first = problems[0]
    loc = first["loc"]
    code, said = _describe(first, _value_at(document, loc))
    field = _path(loc)
    more = f" Problems found in all: {len(problems)}." if len(problems) > 1 else ""
    return RequestError(f"{field or 'The body'} {said}.{more}", status=422, code=code, field=field)


def _describe(problem: ErrorDetails, value: Any) -> tuple[str, str]:
    kind, loc = problem["type"], problem["loc"]
    if kind == "missing":
        return "field_missing", "is missing; it is required"
    if kind == "extra_forbidden":
        return "field_unknown", f"has a field that is not known; allowed: {', '.join(PERSON_FIELDS)}"
    if kind in _TYPES:
        return "field_type", f"has the wrong type; {_TYPES[kind]} is needed"
    if kind == "literal_error":
        return "value_not_allowed", f"is not one of the allowed values: {problem['ctx']['expected']}"
    if kind.startswith(("datetime", "date_", "time", "timezone")):
        return "value_not_allowed", "is not an ISO 8601 date and time, such as 2026-11-22T21:40:00+00:00"
    if kind == "string_too_short":
        return "value_not_allowed", "is empty; at least 1 character is needed"
    if kind == "string_too_long":
        return "value_not_allowed", f"is too long; at most {problem['ctx']['max_length']} characters are allowed"
    if kind == "value_error" and loc[-1:] == ("narrative",) and isinstance(value, str):
        return _narrative_code(value), str(problem["ctx"]["error"])
    return "value_not_allowed", "has a value that is not allowed; /docs.json describes it"


def _narrative_code(narrative: str) -> str:
    length = len(narrative.strip())
    if length == 0:
        return "narrative_empty"
    return "narrative_too_long" if length > MAX_NARRATIVE_CHARS else "narrative_control_character"


def _value_at(document: Any, loc: tuple[int | str, ...]) -> Any:
    try:
        for step in loc:
            document = document[step]
    except (KeyError, IndexError, TypeError):
        return None
    return document


def _path(loc: tuple[int | str, ...]) -> str | None:
    """`("incidents", 3, "narrative")` as `incidents[3].narrative`, up to the first step that is not our own name."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step in _FIELDS:
            path += f".{step}" if path else step
        else:
            break
    return path or None
