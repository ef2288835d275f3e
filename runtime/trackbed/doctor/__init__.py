"""What this machine, the project and its environments lack, each finding with its fix.

`findings` is the form of an answer; `machine`, `project` and `environments` hold the questions, one small function
each. They change nothing, and know nothing of one another.
"""

from __future__ import annotations

from trackbed.doctor import environments, machine, project
from trackbed.doctor.findings import Finding, Place, examine

CHECKS = (*machine.CHECKS, *project.CHECKS, *environments.CHECKS)

__all__ = ["CHECKS", "Finding", "Place", "examine"]
