"""`trackbed environment` says of each value where it came from."""

from __future__ import annotations

import json

from support import RunningEnvironment


def test_values_of_the_file_are_told_with_their_line(environment: RunningEnvironment) -> None:
    origins = json.loads(environment.trackbed("environment", "--json").stdout)["origins"]
    file = environment.project / "stacks" / "Pulumi.local.yaml"
    lines = file.read_text().splitlines()
    target, line = origins["target"].rsplit(":", 1)
    assert target == str(file)
    assert "target: local" in lines[int(line) - 1]
    line = origins["pools.default.slots"].rsplit(":", 1)[1]
    assert "maximum: 2" in lines[int(line) - 1]


def test_values_that_nobody_gave_are_defaults_or_made(environment: RunningEnvironment) -> None:
    told = environment.trackbed("environment").stdout
    assert f"{environment.contract.tracking.address.internal}  (made by up)" in told
    assert "endpoints.digits.traffic.champion" in told
    assert "(default)" in next(line for line in told.splitlines() if "traffic.champion" in line)
