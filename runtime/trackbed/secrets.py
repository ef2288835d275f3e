"""Secret references: `file:/path`, `env:NAME`, `k8s:namespace/name#key`, `aws-sm:arn#key`."""

from __future__ import annotations

import os
from pathlib import Path

from trackbed.errors import UserError


def resolve_secret(reference: str) -> str:
    """Return the value behind a reference that can be read on this machine.

    Args:
        reference: `file:/absolute/path` (the file's text without its final newline) or `env:NAME`.

    Raises:
        UserError: the reference has another form, or nothing is there.
    """
    kind, _, place = reference.partition(":")
    if kind == "file":
        try:
            return Path(place).read_text(encoding="utf-8").removesuffix("\n")
        except OSError as error:
            raise UserError(
                f"the secret {reference} cannot be read: {error.strerror}",
                hint="run `trackbed up` to make it again",
            ) from error
        except UnicodeDecodeError as error:
            raise UserError(f"the secret {reference} is not UTF-8 text") from error
    if kind == "env":
        value = os.environ.get(place)
        if value is None:
            raise UserError(f"the secret {reference} is not set", hint=f"export {place}=...")
        return value
    # The text itself is not told: it may be the secret that somebody wrote where a reference belongs.
    raise UserError("a secret reference cannot be resolved here; allowed are file:/path and env:NAME")
