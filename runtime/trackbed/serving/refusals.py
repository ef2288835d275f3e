"""What an endpoint answers when it cannot answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SHOWN_CHARACTERS = 200  # of a value that an error repeats
MISSING: Any = object()
ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "METHOD_NOT_ALLOWED",
    413: "REQUEST_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}


class Refusal(Exception):
    """A request that is answered with an error.

    Args:
        problem: what is wrong.
        field: path of the part of the request that is at fault, such as `dataframe_split.data[0][2]`.
        value: what was given there.
        allowed: what would have been accepted.
        status: HTTP status, 400 by default.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        problem: str,
        *,
        field: str | None = None,
        value: Any = MISSING,
        allowed: Any = None,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.field = field
        self.value = value
        self.allowed = allowed
        self.status = status
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the JSON body: MLflow's `error_code` and `message`, V2's `error`, and the parts one by one."""
        message = self.problem if self.field is None else f"{self.field}: {self.problem}"
        document: dict[str, Any] = {
            "error_code": ERROR_CODES.get(self.status, "BAD_REQUEST"),
            "message": message,
            "error": message,
        }
        if self.field is not None:
            document["field"] = self.field
        if self.value is not MISSING:
            document["value"] = shorten(self.value)
        if self.allowed is not None:
            document["allowed"] = self.allowed
        return json.dumps(document).encode()


def shorten(value: Any) -> Any:
    """Return a value as an error may repeat it: scalars as they are, the rest as text, all of bounded length."""
    if value is None or isinstance(value, bool | int | float):
        return value if len(str(value)) <= SHOWN_CHARACTERS else f"{str(value)[:SHOWN_CHARACTERS]}..."
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
