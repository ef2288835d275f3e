"""Ends the trials of a tuner that has died: `python -m trackbed.tuning.reaper MARK`, with a pipe from the tuner."""

from __future__ import annotations

import sys
import time

# A process that the tuner had forked, but that was not yet the trial's program, carries no mark until it is.
STARTING_SECONDS = 1.0


def main() -> None:
    """Wait until the tuner closes the pipe; unless it says that all is done, end what is left of its trials."""
    told = sys.stdin.buffer.read()
    # Imported late: this process waits for as long as the study takes, and should be small.
    from trackbed.tuning.trials import ALL_DONE, end_processes

    if told == ALL_DONE:
        return
    end_processes(sys.argv[1])
    time.sleep(STARTING_SECONDS)
    end_processes(sys.argv[1])


if __name__ == "__main__":
    main()
