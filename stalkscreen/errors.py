"""Every error this project raises on purpose.

Each carries a sentence for people (`message`), a stable `code` for programs and a `context` of plain facts
(file, row, field, id, what is allowed). Neither ever holds narrative text: errors travel into logs. The subclass
says who can mend it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class StalkscreenError(Exception):
    """Base of all deliberate errors; catching it catches nothing else.

    Args:
        message: What is wrong, where, what is allowed and what to do. No narrative text.
        code: Stable snake_case name; defaults to the class's own `code`.
        **context: Plain facts a program may want: `file`, `row`, `field`, `incident_id`, `allowed`.
    """

    code: str = "error"
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, code: str | None = None, **context: Any) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.context: dict[str, Any] = context


class ConfigError(StalkscreenError):
    """A TOML config, gate file or environment setting is wrong."""

    code = "config_invalid"


class TaxonomyError(ConfigError):
    """A file in `stalkscreen/taxonomy/` is wrong."""

    code = "taxonomy_invalid"


class DataError(StalkscreenError):
    """A labelled set or incident file cannot be used; `problems` lists every reason found."""

    code = "data_invalid"


class RecordError(DataError):
    """One incident is wrong."""

    code = "record_invalid"


class LeakageError(DataError):
    """A supplied split puts records that belong together on both sides."""

    code = "split_leaks"


class ModelFormatError(StalkscreenError):
    """A model folder is missing, damaged, unsafe or of another format version."""

    code = "model_format"


class UnknownNameError(StalkscreenError):
    """A name (model reference, classifier kind, indicator, column) is not one of those allowed."""

    code = "unknown_name"


class RequestError(StalkscreenError):
    """A call to the service is wrong; `status` is the HTTP status it is answered with."""

    code = "request_invalid"

    def __init__(self, message: str, *, status: int = 422, code: str | None = None, **context: Any) -> None:
        super().__init__(message, code=code, **context)
        self.status = status


class GateFailedError(StalkscreenError):
    """The release gates said no. The only error that ends a command with exit code 1."""

    code = "gate_failed"
    exit_code = 1
