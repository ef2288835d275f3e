"""Reads the pages of the documentation: their fenced and indented blocks, and the commands in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What makes a line of an indented block a command; output and listings stand in such blocks too.
PROGRAMS = ("make", "trackbed", "pulumi", "source", "eval", "python", "pip", "git", "cd", "cp")
FENCE = re.compile(r"^```(\S*)$")
COMMENT = re.compile(r"(^|\s+)# .*$")


@dataclass(frozen=True)
class Block:
    """A block of a page: its language (empty for an indented one), its text, and the line it begins in."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    language: str | None = None
    begin, taken = 0, list[str]()
    for number, line in enumerate([*page.read_text(encoding="utf-8").splitlines(), ""], start=1):
        fence = FENCE.match(line)
        if fence and language is None:
            language, begin, taken = fence[1] or "?", number + 1, []
        elif fence:
            yield Block(page, begin, language or "", "\n".join(taken))
            language, taken = None, []
        elif language is not None:
            taken.append(line)
        elif line.startswith("    ") and not line.lstrip().startswith(("-", "*", "1")):
            begin = begin if taken else number
            taken.append(line.removeprefix("    "))
        elif taken:
            yield Block(page, begin, "", "\n".join(taken))
            taken = []


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command line of the documentation, without its comment, with the block it stands in."""
    for page in pages():
        for block in blocks(page):
            for line in block.text.replace("\\\n", "").splitlines():
                command = COMMENT.sub("", line).strip()
                if command and (block.language == "sh" or (not block.language and command.split()[0] in PROGRAMS)):
                    yield command, block.place


def typed_commands(file: Path) -> Iterator[str]:
    """Yield every text that a test hands to `typed(...)` or `typed.until(...)`: the commands that it runs."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typed", "typed.until"):
            assert isinstance(node.args[0], ast.Constant), f"{file}:{node.lineno}: write the command out"
            yield str(node.args[0].value)
