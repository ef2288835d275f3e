"""The errors Trackbed tells a person about, apart from its own bugs."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

# What a person's files and disks do to us. Anything else, a missing file too, is a bug.
REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.ELOOP)


class UserError(Exception):
    """Something the person at the keyboard can mend: bad input, a missing tool, an environment that is down.

    The command line prints the message without a traceback and exits with `exit_code`.

    Args:
        message: what is wrong, with the value given and what is allowed.
        hint: how to fix it, as a sentence or a command; empty when the message says it already.
        exit_code: the exit status of the command line, 1 by default (2 for unusable arguments).
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


class ProblemsError(UserError):
    """Several problems found in one go, told together.

    Args:
        summary: one line that says what was checked and how many problems it has.
        problems: each problem, already worded for the reader.
    """

    def __init__(self, summary: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join([summary, *(f"  - {problem}" for problem in problems)]))
        self.problems = tuple(problems)


def refusal(error: BaseException) -> str | None:
    """Return what the system refused to do with a person's file, as `FILE: REASON`; None for any other error."""
    if isinstance(error, OSError) and error.errno in REFUSALS and isinstance(error.filename, str | bytes):
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return None
