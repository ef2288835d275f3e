"""One trial's processes: their start and their end.

Every process of a trial carries a mark in its environment, which its children inherit. Whatever they do with sessions
and process groups (Metaflow and MLflow projects start many), the mark finds them: when a trial is ended, when the tuner
dies, and when a later tuner looks for what an earlier one left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from trackbed.engines import Program, find_engine
from trackbed.tuning.checks import PLACEHOLDER
from trackbed.tuning.study import Parameter, Study

MARK = "TRACKBED_TRIAL"
ALL_DONE = b"done"  # what the tuner tells the reaper when it ends in order
GRACE_SECONDS = 5.0  # between asking a process to end and ending it
SHOWN_LINES = 15  # of the log of a failed trial
SHOWN_BYTES = 16_384


@dataclass
class TrialProcess:
    """A running trial's process.

    Args:
        process: the child process, `trackbed run` and then the tool it becomes.
        mark: what its processes are known by.
        log: file that gets their output.
        started: time of the start, in seconds of the monotonic clock.
    """

    process: subprocess.Popen[bytes]
    mark: str
    log: Path
    started: float = field(default_factory=time.monotonic)

    def status(self) -> int | None:
        """Return the exit status (negative for a signal); None while it runs."""
        return self.process.poll()

    def seconds(self) -> float:
        """Return how long ago it was started, in seconds."""
        return time.monotonic() - self.started

    def end(self) -> None:
        """End the trial with all its processes; blocks until they are gone."""
        end_processes(self.mark)
        self.process.wait()

    def log_end(self) -> str:
        """Return the last lines of the log."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - SHOWN_BYTES))
            text = file.read().decode("utf-8", errors="replace")
        return "\n".join(text.rstrip().splitlines()[-SHOWN_LINES:])


def start_trial(
    study: Study, values: Mapping[str, float | str], *, mark: str, log: Path, variables: Mapping[str, str]
) -> TrialProcess:
    """Start a trial's program through `trackbed run`, which waits for a slot of the compute pool.

    Args:
        study: the study.
        values: the parameters' values.
        mark: what the processes of this trial are known by.
        log: file for their output; replaced.
        variables: environment variables on top of this process's own.
    """
    command = [sys.executable, "-m", "trackbed", "run", str(study.program), *trial_arguments(study, values)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=study.file.parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables, MARK: mark},
            # Ctrl-C at the terminal is for the tuner; it ends its trials itself.
            start_new_session=True,
        )
    return TrialProcess(process, mark, log)


def trial_arguments(study: Study, values: Mapping[str, float | str]) -> list[str]:
    """Return the program's arguments for one trial.

    Args:
        study: the study, with its arguments or without.
        values: the parameters' values.
    """
    texts = {parameter.name: value_text(parameter, values[parameter.name]) for parameter in study.parameters}
    if study.arguments is not None:
        return [PLACEHOLDER.sub(lambda found: texts[found[1]], argument) for argument in study.arguments]
    # Only the name of the engine's module says which form its tool's command line has.
    engine = getattr(find_engine(Program(study.program)), "__name__", "").rpartition(".")[2]
    if engine == "mlflow_project":
        return [part for name, text in texts.items() for part in ("-P", f"{name}={text}")]
    options = [part for name, text in texts.items() for part in (f"--{name}", text)]
    return ["run", *options] if engine == "metaflow" else options


def value_text(parameter: Parameter, value: float | str) -> str:
    """Return a parameter's value as a program's argument: whole numbers without a point, floats in full."""
    return str(int(value)) if parameter.kind == "int" else str(value)


def end_processes(mark: str, grace: float = GRACE_SECONDS) -> int:
    """End every process with this mark, or with one below it (`mark/...`): first asked, then killed.

    Args:
        mark: the mark.
        grace: seconds between the two.

    Returns:
        How many there were.
    """
    found = list(marked_processes(mark))
    _each(found, "terminate")
    psutil.wait_procs(found, timeout=grace)
    # Looked for again: a process that was asked may have started others meanwhile.
    while left := list(marked_processes(mark)):
        _each(left, "kill")
        psutil.wait_procs(left, timeout=grace)
    return len(found)


def marked_processes(mark: str) -> Iterator[psutil.Process]:
    """Yield the running processes with this mark, or with one below it, without this process itself."""
    for process in psutil.process_iter():
        try:
            own = process.environ().get(MARK, "")
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if own == mark or own.startswith(f"{mark}/"):
                yield process
        except psutil.Error:
            continue  # gone meanwhile, or somebody else's


def start_reaper(mark: str) -> subprocess.Popen[bytes]:
    """Start the process that ends the trials when this one dies, however it dies: it sees its standard input close.

    Args:
        mark: mark of all trials of this tuner.

    Returns:
        The process; `dismiss_reaper` ends it when no trial is left.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "trackbed.tuning.reaper", mark],
        # Without the mark of a trial that this tuner may itself be part of: the reaper must outlive it.
        env={name: value for name, value in os.environ.items() if name != MARK},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def dismiss_reaper(reaper: subprocess.Popen[bytes]) -> None:
    """Tell the reaper that nothing is left to do."""
    reaper.communicate(ALL_DONE)


def _each(processes: Iterable[psutil.Process], action: str) -> None:
    for process in processes:
        try:
            getattr(process, action)()
        except psutil.NoSuchProcess:
            continue
