"""Wire formats: how a body becomes the model's input, and its output a body.

Each module has one `decode(body, ..., predictor) -> Call`. Neither knows of HTTP, aliases or threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trackbed.serving.refusals import Refusal


@dataclass(frozen=True)
class Call:
    """One prediction that was asked for.

    Args:
        data: the model's input.
        params: parameters of the prediction; None when none were given.
        encode: turns what the model returned into the body of the answer, JSON.
        explain: names the field that is at fault after the input was refused; given the words of who refused it, and
            whether that was the model itself rather than its signature, returns the refusal to answer with.
    """

    data: Any
    params: dict[str, Any] | None
    encode: Callable[[Any], bytes]
    explain: Callable[[str, bool], Refusal]
