"""`trackbed:local:Process`: a command that stays up, on a port that stays the same."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from trackbed_local.kinds.base import UNKNOWN, Difference, Failure, Inputs, Properties, compare
from trackbed_local.layout import Home
from trackbed_local.programs import HealthCheck, Program, Restart, bring_up, inspect, remove
from trackbed_local.supervision import ProcessStatus

POLICIES = ("always", "on-failure", "never")
AS_IT_SHOULD_BE = ("running", "finished")
EXPLANATIONS = {
    "starting": "is not healthy yet: `up` waits for it.",
    "stopped": "is not running: `up` starts it.",
    "changed": "runs with another configuration than its own: `up` restarts it.",
    "foreign": "lost its port to another program: `up` moves it to a free one.",
    "fatal": "keeps failing (its log says why): `up` starts it anew.",
}
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
DAY = 86400.0
INPUTS = (
    *("home", "name", "command", "environment", "secretEnvironment", "secretReferences", "workingDirectory"),
    *("prepare", "port", "healthCheck", "restart", "stopTimeoutSeconds", "logMaximumBytes", "logBackups"),
    "triggers",
)


class Process:
    """Keeps a command running under the environment's supervisor.

    Args:
        cancelled: when set, waiting for a program's health ends; the program goes on starting.
    """

    secret_properties: frozenset[str] = frozenset(["secretEnvironment"])

    def __init__(self, cancelled: threading.Event) -> None:
        self._cancelled = cancelled

    def check(self, _olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        """Validate all inputs and fill in the defaults."""
        inputs = Inputs(news)
        inputs.path("home")
        inputs.text(
            "name", pattern="[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", allowed="lower-case letters, digits and hyphens"
        )
        inputs.texts("command", minimum=1)
        inputs.text_map("environment", names=VARIABLE)
        inputs.text_map("secretEnvironment", names=VARIABLE, secret=True)
        inputs.text_map("secretReferences", names=VARIABLE, value="file:/.+|env:[A-Za-z_][A-Za-z0-9_]*")
        inputs.path("workingDirectory", optional=True)
        inputs.lists_of_texts("prepare")
        inputs.number("port", minimum=1024, maximum=65535, whole=True, optional=True)
        health = inputs.nested("healthCheck", optional=True)
        if health is not None:
            health.text("path", pattern=r"/[!-~]*", allowed='an absolute path such as "/health"')
            health.number("timeoutSeconds", minimum=1, maximum=DAY, default=180)
            health.number("intervalSeconds", minimum=0.1, maximum=DAY, default=10)
            inputs.adopt("healthCheck", health)
            if inputs.values.get("port") is None:
                inputs.fail("healthCheck", "needs a port")
        restart = inputs.nested("restart")
        if restart is not None:
            restart.text("policy", default="always", pattern="|".join(POLICIES), allowed=" or ".join(POLICIES))
            restart.number("backoffSeconds", minimum=0.05, maximum=DAY, default=1)
            restart.number("maximumBackoffSeconds", minimum=0.05, maximum=DAY, default=60)
            inputs.adopt("restart", restart)
        inputs.number("stopTimeoutSeconds", minimum=0, maximum=DAY, default=10)
        inputs.number("logMaximumBytes", minimum=1000, maximum=1e12, default=10_000_000, whole=True)
        inputs.number("logBackups", minimum=0, maximum=1000, default=3, whole=True)
        inputs.text_map("triggers")
        return inputs.finish()

    def diff(self, state: Properties, news: Properties) -> Difference:
        """Compare inputs with the record; without a change, ask the supervisor whether the program is well."""
        difference = compare(_recorded_inputs(state), news, INPUTS, replacing=["home", "name"])
        if difference.paths:
            return difference
        seen = self._seen(state).state
        if seen in AS_IT_SHOULD_BE and state.get("state") in AS_IT_SHOULD_BE:
            return difference
        reason = f"{state['name']} {EXPLANATIONS[seen]}" if seen in EXPLANATIONS else ""
        return Difference(drifted=frozenset(["state"]), reason=reason)

    def preview(self, state: Properties, news: Properties) -> Properties:
        """Predict the outputs: a port is known once a program had it, a process never."""
        keeps_port = bool(state) and state.get("preferredPort") == news.get("port") != UNKNOWN
        known = UNKNOWN not in (news.get("home"), news.get("name"))
        log = str(Home(Path(news["home"])).log(news["name"])) if known else UNKNOWN
        outputs = {**news, "logFile": log, "pid": UNKNOWN, "startedAt": UNKNOWN, "state": UNKNOWN}
        if news.get("port") is None:
            return outputs
        return {
            **outputs,
            "preferredPort": news["port"],
            "port": state["port"] if keeps_port else UNKNOWN,
            "url": state["url"] if keeps_port else UNKNOWN,
        }

    def create(self, news: Properties) -> tuple[str, Properties]:
        """Start the program and wait for its health; one that runs like this already is adopted."""
        seen = bring_up(_program(news), self._cancelled)
        return f"{news['home']}::{news['name']}", _outputs(news, seen)

    def read(self, state: Properties) -> Properties | None:
        """Return what runs now; a program that is down stays a resource, whose `state` says so."""
        return _outputs(_recorded_inputs(state), self._seen(state))

    def update(self, _state: Properties, news: Properties) -> Properties:
        """Bring the program to the new inputs; it is restarted if it is not as it should be."""
        return _outputs(news, bring_up(_program(news), self._cancelled))

    def delete(self, state: Properties) -> None:
        """Stop the program and forget it."""
        remove(Path(state["home"]), state["name"], state.get("stopTimeoutSeconds", 10))

    def _seen(self, state: Properties) -> ProcessStatus:
        complete, _ = self.check({}, _recorded_inputs(state))  # a state of an earlier version may lack inputs
        return inspect(_program(complete), state.get("port"))


def _recorded_inputs(state: Properties) -> Properties:
    """Return the inputs behind a state, in which `port` is the port the program got."""
    return {**{key: state.get(key) for key in INPUTS}, "port": state.get("preferredPort")}


def _outputs(inputs: Properties, seen: ProcessStatus) -> Properties:
    outputs = {
        **{key: value for key, value in inputs.items() if value is not None},
        "logFile": str(seen.log_file),
        "pid": seen.pid,
        "startedAt": seen.started_at,
        "state": seen.state,
    }
    if inputs.get("port") is None:
        return outputs
    return {**outputs, "preferredPort": inputs["port"], "port": seen.port, "url": seen.url}


def _program(inputs: Properties) -> Program:
    """Build the program from inputs that `check` has completed."""
    health: dict[str, Any] | None = inputs.get("healthCheck")
    restart: dict[str, Any] = inputs["restart"]
    return Program(
        home=Path(inputs["home"]),
        name=inputs["name"],
        command=inputs["command"],
        environment=inputs["environment"],
        secret_environment=inputs["secretEnvironment"],
        secret_references=inputs["secretReferences"],
        working_directory=inputs.get("workingDirectory"),
        prepare=inputs["prepare"],
        port=inputs.get("port"),
        health_check=None
        if health is None
        else HealthCheck(health["path"], health["timeoutSeconds"], health["intervalSeconds"]),
        restart=Restart(restart["policy"], restart["backoffSeconds"], restart["maximumBackoffSeconds"]),
        stop_timeout_seconds=inputs["stopTimeoutSeconds"],
        log_maximum_bytes=inputs["logMaximumBytes"],
        log_backups=inputs["logBackups"],
        triggers=inputs["triggers"],
    )
