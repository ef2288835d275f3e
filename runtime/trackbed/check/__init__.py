"""The smoke test of an environment: a tiny real workflow from training to a served prediction.

`steps` are what it does, in order; `report` runs them with their times; `traces` takes away what they made.
"""

from __future__ import annotations

from trackbed.check.report import Report, Result, run_check

__all__ = ["Report", "Result", "run_check"]
