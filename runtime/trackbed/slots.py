"""Slots of a compute pool on this machine: one lock file each, held by whoever runs.

A lock goes with the process that holds it, however it ends, so nothing is left to clean up after a kill.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.1


@dataclass
class HeldSlot:
    """A slot that this process holds.

    Args:
        number: the slot's number, from 0.
        descriptor: the open file whose lock is the slot.
    """

    number: int
    descriptor: int

    def release(self) -> None:
        """Give the slot back; may be called once."""
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


@dataclass(frozen=True)
class Slots:
    """The slots of one pool, shared by every process of this machine that names the same directory.

    Args:
        directory: where the lock files lie; made when it is missing.
        count: how many slots there are.
        memory: bytes of all slots together; a slot is given only while the sum of what is asked for fits.
    """

    directory: Path
    count: int
    memory: int

    def acquire(self, *, label: str, memory: int | None = None, inherit: bool = False) -> HeldSlot:
        """Wait for a free slot and take it.

        Args:
            label: what runs in it, shown to those who wait.
            memory: bytes the work needs; an equal share of the pool by default. A demand above the pool's memory is
                granted when the pool is empty, since it could never be granted otherwise.
            inherit: keep the slot over an `exec` of this process.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        wanted = self.memory // self.count if memory is None else memory
        told = False
        while True:
            held = self._try(label, wanted)
            if held is not None:
                os.set_inheritable(held.descriptor, inherit)
                return held
            if not told:
                print(f"trackbed: waiting for a slot: {self._describe(wanted)}", file=sys.stderr, flush=True)
                told = True
            time.sleep(POLL_SECONDS)

    def holders(self) -> list[dict[str, object]]:
        """Return what runs in each taken slot: `slot`, `pid`, `label` and `memory` (bytes)."""
        found: list[dict[str, object]] = []
        for number in range(self.count):
            descriptor = os.open(self._file(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if not _lock(descriptor):
                    found.append({"slot": number, **_holder(descriptor)})
            finally:
                os.close(descriptor)
        return found

    def _try(self, label: str, memory: int) -> HeldSlot | None:
        # One process at a time looks and takes, or two could both see memory that only one of them can have.
        admission = os.open(self.directory / "admission.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(admission, fcntl.LOCK_EX)
        try:
            free: HeldSlot | None = None
            used = 0
            for number in range(self.count):
                descriptor = os.open(self._file(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if not _lock(descriptor):
                    used += int(str(_holder(descriptor).get("memory", 0)))
                    os.close(descriptor)
                elif free is None:
                    free = HeldSlot(number, descriptor)
                else:
                    os.close(descriptor)
            if free is None:
                return None
            if used and used + memory > self.memory:
                os.close(free.descriptor)
                return None
            text = json.dumps({"pid": os.getpid(), "label": label, "memory": memory})
            os.ftruncate(free.descriptor, 0)
            os.pwrite(free.descriptor, text.encode(), 0)
            return free
        finally:
            os.close(admission)

    def _file(self, number: int) -> Path:
        return self.directory / f"slot-{number}.lock"

    def _describe(self, wanted: int) -> str:
        holders = [f"{holder.get('label')} (pid {holder.get('pid')})" for holder in self.holders()]
        taken = f"{len(holders)} of {self.count} taken"
        if holders:
            taken += f" by {', '.join(holders)}"
        if len(holders) < self.count:
            taken += f"; {wanted} bytes of memory are wanted, of {self.memory} in all"
        return taken


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> dict[str, object]:
    try:
        return json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        return {}
