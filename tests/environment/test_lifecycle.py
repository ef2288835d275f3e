"""A local environment through its life, with the real engine and real processes."""

from __future__ import annotations

import json

import requests
from support import RunningEnvironment


def test_up_serves_tracking_and_a_live_endpoint(environment: RunningEnvironment) -> None:
    tracking = environment.contract.tracking.address.internal
    endpoint = environment.contract.endpoints["digits"].address.internal
    assert requests.get(f"{tracking}/health", timeout=10).text == "OK"
    assert requests.get(f"{endpoint}/health", timeout=10).status_code == 200


def test_an_alias_without_a_version_is_live_but_not_ready(environment: RunningEnvironment) -> None:
    endpoint = environment.contract.endpoints["digits"].address.internal
    answer = requests.get(f"{endpoint}/v2/health/ready", timeout=10)
    assert answer.status_code == 503
    assert "champion" in answer.text


def test_a_second_up_changes_nothing(environment: RunningEnvironment) -> None:
    done = environment.platform.trackbed("up", "local", "--yes", "--json")
    assert json.loads(done.stdout)["changes"] == []


def test_plain_pulumi_works_on_the_same_stack(environment: RunningEnvironment) -> None:
    done = environment.platform.pulumi("preview", "--stack", "local", "--expect-no-changes")
    assert "unchanged" in done.stdout


def test_no_secret_is_in_the_contract_or_the_state(environment: RunningEnvironment) -> None:
    secrets = [file.read_text() for file in (environment.platform.home("local") / "secrets").iterdir()]
    assert secrets
    trackbed = environment.project / ".trackbed"
    for file in [*(trackbed / "state").rglob("*.json*"), *trackbed.rglob("contract.json")]:
        text = file.read_text()
        assert not [secret for secret in secrets if secret in text], file
