"""The packages that a lightweight component asks for, read from the shell prelude that the KFP compiler gives it.

The compiler (versions 1.8 to 2.17) writes a task's command as `sh -c 'pip install ... && "$0" "$@"' REST...`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

Install = tuple[str, ...]
"""The arguments of one `pip install`."""

_KFP = re.compile(r"^kfp(\[[^]]*\])?\s*([=<>~!@ ].*)?$")
_ENDS = frozenset({"&&", "||", ";", "(", ")"})
_HANDS_OVER = ["&&", "$0", "$@"]


def split_prelude(command: Sequence[str]) -> tuple[tuple[Install, ...], list[str]] | None:
    """Split a component's command into what it installs and what it runs.

    What installs kfp itself is left out: the environment that runs the task has it.

    Args:
        command: the command of a lightweight component.

    Returns:
        The installs, and the command without them; None when pip is used in a way that this does not understand.
    """
    if not any("pip install" in part for part in command[:3]):
        return (), list(command)
    if list(command[:2]) != ["sh", "-c"] or len(command) < 4:
        return None
    tokens = _tokens(command[2])
    if tokens[-3:] != _HANDS_OVER:
        return None
    return tuple(_installs(tokens)), list(command[3:])


def _tokens(script: str) -> list[str]:
    lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # an unclosed quote
        return []


def _installs(tokens: Sequence[str]) -> Iterator[Install]:
    starts = [i + 3 for i in range(len(tokens)) if list(tokens[i : i + 3]) == ["-m", "pip", "install"]]
    for start in starts:
        end = next((i for i in range(start, len(tokens)) if tokens[i] in _ENDS), len(tokens))
        arguments = tokens[start:end]
        kept = tuple(argument for argument in arguments if not _KFP.match(argument))
        only_kfp = len(kept) < len(arguments) and "--no-deps" in arguments
        # `--user` marks version 1's second try, for a home directory when the first was refused.
        if not only_kfp and "--user" not in arguments and _names_a_requirement(kept):
            yield kept


def _names_a_requirement(arguments: Sequence[str]) -> bool:
    valued = {"--index-url", "--extra-index-url", "--trusted-host"}
    previous = ["", *arguments[:-1]]
    return any(
        not word.startswith("-") and before not in valued for before, word in zip(previous, arguments, strict=True)
    )
