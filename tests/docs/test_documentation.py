"""The documentation itself: it is what the code says, hangs together, and has no command that no test runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from documentation import ROOT, blocks, commands, pages, typed_commands
from trackbed.documents import Document, read_document
from trackbed.spec import spec_document, spec_problems

FENCES = {"", "http", "python", "sh", "text", "yaml"}


def test_every_command_is_run_by_a_test() -> None:
    run = {command for file in Path(__file__).parent.glob("*.py") for command in typed_commands(file)}
    documented = dict(commands())
    missing = {command: place for command, place in documented.items() if command not in run}
    assert not missing, "give each a test in tests/docs/test_documented_commands.py"


def test_generated_pages_are_what_the_code_says(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "docs", tmp_path], check=True)
    written = {file.relative_to(tmp_path): file.read_text() for file in tmp_path.rglob("*.md")}
    committed = {name: (ROOT / "docs" / name).read_text() for name in written if (ROOT / "docs" / name).exists()}
    assert committed == written, "run `make docs`"
    for folder in ("commands", "environment"):
        assert {file.name for file in (ROOT / "docs" / folder).iterdir()} == {
            name.name for name in written if name.parent.name == folder
        }


def test_links_lead_somewhere() -> None:
    for page in pages():
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if "://" in link:
                continue
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            assert target.exists(), f"{page}: {link}"
            if anchor:
                titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], link


def test_blocks_say_their_language() -> None:
    for page in pages():
        for block in blocks(page):
            assert block.language in FENCES, block.place


def test_examples_of_the_spec_are_valid(tmp_path: Path) -> None:
    found = [block for page in pages() for block in blocks(page) if block.language == "yaml"]
    checked = 0
    for block in found:
        keys = yaml.safe_load(block.text).keys()
        if keys & {"environment", "program", "backend"}:  # other files than the spec
            continue
        whole = block.text if keys & {"config", "target"} else f"target: local\n{block.text}"
        file = tmp_path / "Pulumi.example.yaml"
        file.write_text(whole)
        document: Document = spec_document(read_document(file))
        assert not spec_problems(document), block.place
        checked += 1
    assert checked > 20


def test_python_examples_are_whole(tmp_path: Path) -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "python":
                compile(block.text, block.place, "exec")


def test_commit_hooks_find_bad_style_and_fetch_nothing(tmp_path: Path) -> None:
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in settings["repos"]} == {"local"}
    hooks = {hook["id"]: hook["entry"].split() for hook in settings["repos"][0]["hooks"]}
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nx = {  'a':1 }\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    executables = Path(sys.executable).parent
    for hook in ("ruff-check", "ruff-format"):
        program, *arguments = hooks[hook]
        done = subprocess.run([executables / Path(program).name, *arguments, bad], capture_output=True, text=True)
        assert done.returncode == 1 or "1 file reformatted" in done.stdout
    assert (executables / Path(hooks["pyright"][0]).name).exists()
