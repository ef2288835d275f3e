"""Findings, and asking every check for its own."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trackbed.errors import refusal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Args:
        check: what was looked at, in a word or two.
        level: `ok`; `warning`, for what works with a drawback; `problem`, for what does not work.
        message: what was seen, and where.
        fix: a command, or a sentence when no command can do it; empty where nothing is to be done.
    """

    check: str
    level: Level
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Place:
    """Where the checks look.

    Args:
        directory: the current directory.
        project: the platform project around it; None outside of one.
        environment: the environment that was asked for; None for all that are known.
    """

    directory: Path
    project: Path | None = None
    environment: str | None = None

    def in_project(self, command: str, project: Path | None = None) -> str:
        """Return a command line that runs a command in a project, from the current directory.

        Args:
            command: the command.
            project: the directory of the project; the one around the current directory by default.
        """
        if project is None or project == self.project:
            return command
        return f"cd {shlex.quote(str(project))} && {command}"


Check = Callable[[Place], Iterator[Finding]]


def examine(checks: Sequence[Check], place: Place) -> list[Finding]:
    """Ask every check; one that crashes is told as what it is, a bug, and hides none of the others.

    Args:
        checks: the checks, in the order of their findings.
        place: where they look.
    """
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check(place)
        except Exception as error:
            name = check.__name__.replace("_", " ")
            if refused := refusal(error):
                fix = "see to it that you may use this file, or ask its owner"
                findings.append(Finding(name, "problem", refused, fix))
                continue
            last = traceback.extract_tb(error.__traceback__)[-1]
            findings.append(
                Finding(
                    name,
                    "problem",
                    f"this check itself failed, which is a bug of trackbed: {type(error).__name__}: {error} "
                    f"({Path(last.filename).name}:{last.lineno}); the other checks are not concerned",
                    "please report it with this line",
                )
            )
    return findings
