"""Slots of a pool, held by real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from trackbed.slots import HeldSlot, Slots

# Takes a slot, says so, and holds it until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from trackbed.slots import Slots
directory, count, total, label, memory = sys.argv[1:]
held = Slots(Path(directory), int(count), int(total)).acquire(label=label, memory=int(memory) if memory else None)
print(held.number, flush=True)
sys.stdin.read()
held.release()
"""
# Takes a slot many times, and writes down how many hold one at that moment.
WORKER = """
import fcntl, os, sys, time
from pathlib import Path
from trackbed.slots import Slots
directory, count, log = sys.argv[1:]
slots = Slots(Path(directory), int(count), 2**30)
for _ in range(5):
    held = slots.acquire(label=f"worker {os.getpid()}")
    with open(log, "a") as file:
        file.write("+")
    time.sleep(0.01)
    with open(log, "a") as file:
        file.write("-")
    held.release()
"""
# Takes a slot that outlives the exec of another program.
BECOMER = """
import os, sys
from pathlib import Path
from trackbed.slots import Slots
Slots(Path(sys.argv[1]), 1, 2**30).acquire(label="became cat", inherit=sys.argv[2] == "inherit")
os.execvp("sh", ["sh", "-c", "echo became; exec cat"])
"""

Holder = subprocess.Popen[str]


@pytest.fixture
def processes() -> Iterator[list[Holder]]:
    """What a test starts ends with it."""
    started: list[Holder] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(processes: list[Holder], program: str, *arguments: str) -> Holder:
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    processes.append(process)
    return process


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def holder(processes: list[Holder], slots: Slots, label: str, memory: int | None = None) -> Holder:
    arguments = (
        str(slots.directory),
        str(slots.count),
        str(slots.memory),
        label,
        "" if memory is None else str(memory),
    )
    return start(processes, HOLDER, *arguments)


def held_at_once(slots: Slots) -> int:
    return len(slots.holders())


def test_never_more_than_the_count_are_held(tmp_path: Path, processes: list[Holder]) -> None:
    log = tmp_path / "log"
    workers = [start(processes, WORKER, str(tmp_path / "pool"), "3", str(log)) for _ in range(8)]
    for worker in workers:
        _, told = worker.communicate()
        assert worker.returncode == 0, told
    held = most = 0
    for step in log.read_text():
        held += 1 if step == "+" else -1
        most = max(most, held)
    assert (held, most, log.read_text().count("+")) == (0, 3, 40)


def test_the_waiting_are_told_who_holds_the_slots(tmp_path: Path, processes: list[Holder]) -> None:
    slots = Slots(tmp_path / "pool", 1, 2**30)
    first = holder(processes, slots, "flow.py run")
    assert line(first.stdout) == "0"
    second = holder(processes, slots, "second")
    assert line(second.stderr) == (f"trackbed: waiting for a slot: 1 of 1 taken by flow.py run (pid {first.pid})")
    assert slots.holders() == [{"slot": 0, "pid": first.pid, "label": "flow.py run", "memory": 2**30}]
    first.communicate()
    assert line(second.stdout) == "0"
    assert [taken["pid"] for taken in slots.holders()] == [second.pid]


def test_a_slot_is_free_after_a_kill(tmp_path: Path, processes: list[Holder]) -> None:
    slots = Slots(tmp_path / "pool", 2, 2**30)
    first, second = holder(processes, slots, "first"), holder(processes, slots, "second")
    assert {line(first.stdout), line(second.stdout)} == {"0", "1"}
    waiting = holder(processes, slots, "third")
    assert "first" in (told := line(waiting.stderr)) and "second" in told
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert line(waiting.stdout) in ("0", "1")
    assert {taken["label"] for taken in slots.holders()} == {"second", "third"}


def test_memory_counts_for_admission(tmp_path: Path, processes: list[Holder]) -> None:
    slots = Slots(tmp_path / "pool", 4, 1000)
    first = holder(processes, slots, "most of it", 700)
    assert line(first.stdout) == "0"
    small = holder(processes, slots, "fits", 300)
    assert line(small.stdout) == "1"
    large = holder(processes, slots, "does not fit", 400)
    assert line(large.stderr) == (
        f"trackbed: waiting for a slot: 2 of 4 taken by most of it (pid {first.pid}), fits (pid {small.pid}); "
        "400 bytes of memory are wanted, of 1000 in all"
    )
    small.communicate()
    first.communicate()
    assert line(large.stdout) == "0"


def test_more_memory_than_there_is_waits_for_an_empty_pool(tmp_path: Path, processes: list[Holder]) -> None:
    slots = Slots(tmp_path / "pool", 2, 1000)
    small = holder(processes, slots, "small", 1)
    assert line(small.stdout) == "0"
    huge = holder(processes, slots, "huge", 5000)
    assert "waiting for a slot: 1 of 2 taken by small" in line(huge.stderr)
    small.communicate()
    assert line(huge.stdout) == "0"


def test_without_a_word_each_takes_an_equal_share(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "pool", 3, 1000)
    held = [slots.acquire(label=f"task {number}") for number in range(3)]
    assert [taken["memory"] for taken in slots.holders()] == [333, 333, 333]
    for slot in held:
        slot.release()
    assert held_at_once(slots) == 0


@pytest.mark.parametrize(("how", "held"), [("inherit", 1), ("plain", 0)])
def test_a_slot_is_kept_over_an_exec_where_asked(tmp_path: Path, processes: list[Holder], how: str, held: int) -> None:
    slots = Slots(tmp_path / "pool", 1, 2**30)
    process = start(processes, BECOMER, str(slots.directory), how)
    assert line(process.stdout) == "became"
    assert [taken["pid"] for taken in slots.holders()] == [process.pid] * held
    process.communicate()
    assert held_at_once(slots) == 0


def test_a_released_slot_names_nobody(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "pool", 1, 2**30)
    held: HeldSlot = slots.acquire(label="mine")
    assert held_at_once(slots) == 1
    held.release()
    assert (tmp_path / "pool" / "slot-0.lock").read_text() == ""


def test_what_a_file_holds_by_accident_is_no_obstacle(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "pool", 1, 2**30)
    slots.directory.mkdir()
    (slots.directory / "slot-0.lock").write_text("not JSON")
    slots.acquire(label="mine").release()
