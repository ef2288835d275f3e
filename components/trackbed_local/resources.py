"""The local provider's resource types as Pulumi programs use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

import pulumi


class HealthCheckArgs(TypedDict):
    """How to see that a process works.

    Keys:
        path: page that is answered with 2xx or 3xx, such as "/health".
        timeoutSeconds: how long a start may take, 180 by default.
        intervalSeconds: pause between two checks of a running process, 10 by default.
    """

    path: pulumi.Input[str]
    timeoutSeconds: NotRequired[pulumi.Input[float]]
    intervalSeconds: NotRequired[pulumi.Input[float]]


class RestartArgs(TypedDict, total=False):
    """When a command that ended is started again.

    Keys:
        policy: "always" (default), "on-failure" or "never".
        backoffSeconds: pause before the first restart, 1 by default; doubles with each failure.
        maximumBackoffSeconds: longest pause, 60 by default.
    """

    policy: pulumi.Input[Literal["always", "on-failure", "never"]]
    backoffSeconds: pulumi.Input[float]
    maximumBackoffSeconds: pulumi.Input[float]


class Settings(pulumi.CustomResource):
    """The settings an environment is born with; `preview` and `up` refuse a change of any of them.

    Make it the first resource and let the others depend on it: then nothing is touched before the refusal.

    Args:
        resource_name: logical name.
        immutable: setting to value; keys may be added later, never changed or removed.
        opts: resource options.
    """

    immutable: pulumi.Output[dict[str, Any]]

    def __init__(
        self,
        resource_name: str,
        *,
        immutable: pulumi.Input[Mapping[str, Any]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("trackbed:index:Settings", resource_name, {"immutable": immutable}, opts)


class Directory(pulumi.CustomResource):
    """A directory; one that existed before is adopted, and then never deleted.

    Args:
        resource_name: logical name.
        path: absolute path; another path is another directory.
        mode: permissions in octal, "0700" by default.
        opts: resource options.
    """

    path: pulumi.Output[str]
    mode: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        path: pulumi.Input[str],
        mode: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("trackbed:local:Directory", resource_name, {"path": path, "mode": mode}, opts)


class File(pulumi.CustomResource):
    """A file, written in one step; a change by somebody else is seen and undone by the next `up`.

    Args:
        resource_name: logical name.
        path: absolute path; another path is another file.
        content: the text; make it a Pulumi secret if it is one.
        mode: permissions in octal, "0600" by default.
        opts: resource options.
    """

    path: pulumi.Output[str]
    content: pulumi.Output[str]
    mode: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        path: pulumi.Input[str],
        content: pulumi.Input[str],
        mode: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"path": path, "content": content, "mode": mode}
        super().__init__("trackbed:local:File", resource_name, properties, opts)


class Secret(pulumi.CustomResource):
    """A secret in a file that only its owner can read.

    A generated value exists in that file only, neither in Pulumi's state nor in a log; a file that is there
    already is adopted. Retain it (`retain_on_delete`) where it opens data that is retained.

    Args:
        resource_name: logical name.
        path: absolute path of the file.
        value: the secret itself; generated when absent.
        format: "text" (default: letters and digits), or "fernet": a key of the Fernet encryption, 44 characters.
        length: length of a generated text in characters, 32 by default (16 to 256).
        triggers: a change of these generates another value.
        opts: resource options.
    """

    path: pulumi.Output[str]
    reference: pulumi.Output[str]
    """Where the secret lies, as contracts and processes refer to it: `file:<path>`."""
    length: pulumi.Output[int]

    def __init__(
        self,
        resource_name: str,
        *,
        path: pulumi.Input[str],
        value: pulumi.Input[str] | None = None,
        format: pulumi.Input[Literal["text", "fernet"]] | None = None,
        length: pulumi.Input[int] | None = None,
        triggers: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "path": path,
            "value": None if value is None else pulumi.Output.secret(value),
            "format": format,
            "length": length,
            "triggers": triggers,
            "reference": None,
        }
        super().__init__("trackbed:local:Secret", resource_name, properties, _secret_outputs(opts, "value"))


class Process(pulumi.CustomResource):
    """A command that is kept running on this machine, beyond the terminal and the `up` that started it.

    It gets a clean environment (PATH, HOME, LANG and the like, nothing else of the person's shell) plus what
    is given here. In `command`, `prepare` and the values of the variables, "{port}" stands for its port.

    Args:
        resource_name: logical name.
        home: absolute directory of the environment; its supervisor is in `run`, its logs in `logs`.
        name: unique in the environment: lower-case letters, digits and hyphens.
        command: program and arguments; never a secret, for everyone can see it.
        environment: variables.
        secret_environment: secret variables; encrypted in the state, in a 0600 file on the machine.
        secret_references: variable to "file:/path" (see `Secret.reference`), read at every start, or to "env:NAME",
            a variable of the person who runs `up`, kept in a 0600 file.
        working_directory: absolute directory to run in.
        prepare: commands run in order before every start; when one fails the start has failed.
        port: TCP port wished for; the next free one is taken where it is in use, and kept. None for no port.
        health_check: how to see that it works; without one, a port that accepts connections will do.
        restart: when to start it again.
        stop_timeout_seconds: between SIGTERM and SIGKILL, 10 by default.
        log_maximum_bytes: size at which the log is rotated, 10 MB by default.
        log_backups: rotated logs that are kept, 3 by default.
        triggers: a change of these restarts it.
        opts: resource options.
    """

    home: pulumi.Output[str]
    name: pulumi.Output[str]
    port: pulumi.Output[int]
    """The port it got; may be another than the one wished for."""
    url: pulumi.Output[str]
    """`http://127.0.0.1:<port>`."""
    log_file: pulumi.Output[str]
    pid: pulumi.Output[int]
    started_at: pulumi.Output[float]
    """Epoch seconds."""
    state: pulumi.Output[str]
    """See `trackbed_local.supervision.ProcessStatus.state`."""

    def __init__(
        self,
        resource_name: str,
        *,
        home: pulumi.Input[str],
        name: pulumi.Input[str],
        command: pulumi.Input[Sequence[pulumi.Input[str]]],
        environment: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        secret_environment: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        secret_references: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        working_directory: pulumi.Input[str] | None = None,
        prepare: pulumi.Input[Sequence[pulumi.Input[Sequence[pulumi.Input[str]]]]] | None = None,
        port: pulumi.Input[int] | None = None,
        health_check: pulumi.Input[HealthCheckArgs] | None = None,
        restart: pulumi.Input[RestartArgs] | None = None,
        stop_timeout_seconds: pulumi.Input[float] | None = None,
        log_maximum_bytes: pulumi.Input[int] | None = None,
        log_backups: pulumi.Input[int] | None = None,
        triggers: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {
            "home": home,
            "name": name,
            "command": command,
            "environment": environment,
            "secretEnvironment": None if secret_environment is None else pulumi.Output.secret(secret_environment),
            "secretReferences": secret_references,
            "workingDirectory": working_directory,
            "prepare": prepare,
            "port": port,
            "healthCheck": health_check,
            "restart": restart,
            "stopTimeoutSeconds": stop_timeout_seconds,
            "logMaximumBytes": log_maximum_bytes,
            "logBackups": log_backups,
            "triggers": triggers,
            "url": None,
            "log_file": None,
            "pid": None,
            "started_at": None,
            "state": None,
        }
        super().__init__(
            "trackbed:local:Process", resource_name, properties, _secret_outputs(opts, "secretEnvironment")
        )

    def translate_output_property(self, prop: str) -> str:
        """Name Pulumi's outputs as Python attributes."""
        return {"logFile": "log_file", "startedAt": "started_at"}.get(prop, prop)


def _secret_outputs(opts: pulumi.ResourceOptions | None, *names: str) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=list(names)))
