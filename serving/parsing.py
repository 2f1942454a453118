"""From the bytes of a request to checked incidents, more strictly than BentoML or pydantic would by themselves.

Refused: text that is not UTF-8, a key given twice, `NaN` and `Infinity`, nesting without end, half of a surrogate
pair, and everything that `stalkscreen.schema.Incident` refuses.
"""

from __future__ import annotations

import codecs
import json
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import from_validation, refusal
from stalkscreen.errors import RequestError
from stalkscreen.schema import Incident

_Model = TypeVar("_Model", bound=BaseModel)

MAX_BATCH = 256
"""Most incidents in one call of `/v1/screen_batch` (contract, section 4)."""


class ScreenBatch(BaseModel):
    """The body of `/v1/screen_batch`; other fields beside `incidents` are ignored."""

    model_config = ConfigDict(hide_input_in_errors=True, frozen=True)

    incidents: Annotated[list[Incident], Field(min_length=1, max_length=MAX_BATCH)]


def check_incident(body: bytes) -> bytes:
    """Check the body of `/v1/screen`.

    Returns:
        The body to hand on: the same without a byte order mark.

    Raises:
        RequestError: 400 or 422, with the field and what is allowed.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    _check(body, _strict(body), Incident)
    return body


def check_batch(body: bytes) -> bytes:
    """Check the body of `/v1/screen_batch`; see `check_incident`. An `incident_id` given twice is refused."""
    body = body.removeprefix(codecs.BOM_UTF8)
    document = _strict(body)
    found = document.get("incidents") if isinstance(document, dict) else None
    if isinstance(found, list) and not 1 <= len(found) <= MAX_BATCH:
        raise refusal(
            422, f"incidents has {len(found):,} entries; 1 to {MAX_BATCH} are allowed.", "batch_size", "incidents"
        )
    batch = _check(body, document, ScreenBatch)
    seen: dict[str, int] = {}
    for at, incident in enumerate(batch.incidents):
        first = seen.setdefault(incident.incident_id, at)
        if first != at:
            raise refusal(
                422,
                f"incidents[{at}].incident_id is the same as incidents[{first}].incident_id; each must be unique in a "
                "batch, so that answers can be told apart.",
                "incident_id_duplicate",
                f"incidents[{at}].incident_id",
            )
    return body


def ignore_body(_: bytes) -> bytes:
    """The body of a route that takes none, whatever was sent."""
    return b"{}"


def _check(body: bytes, document: Any, model: type[_Model]) -> _Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if any(problem["type"] == "json_invalid" for problem in error.errors(include_input=False)):
            raise refusal(400, "The body is not valid JSON: half a surrogate pair, or nested too deeply.") from None
        raise from_validation(error, document) from None


def _strict(body: bytes) -> Any:
    """The parsed body.

    Raises:
        RequestError: 400; the message gives a place, never the text there.
    """
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise refusal(400, f"The body is not UTF-8 (byte {error.start:,}).", "not_utf8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise refusal(400, f"The body is not valid JSON ({place}: {error.msg.split(':')[0]}).") from None
    except RecursionError:
        raise refusal(400, "The body is nested too deeply.") from None
    except RequestError:
        raise
    except ValueError:
        raise refusal(400, "The body has a number with too many digits.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise refusal(400, "An object in the body has the same key twice.", "duplicate_key")
    return found


def _no_constant(_: str) -> NoReturn:
    raise refusal(400, "The body has NaN or Infinity, which JSON does not allow.")
