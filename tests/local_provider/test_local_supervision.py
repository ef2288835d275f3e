"""What a person sees of supervised programs: they stay up, end completely, and say why when they cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_provider_helpers import eventually, only_status, processes_of
from trackbed.errors import UserError
from trackbed_local import supervision
from trackbed_local.kinds.directory import Directory
from trackbed_local.launcher import identity
from trackbed_local.layout import Home
from trackbed_local.programs import HealthCheck, Program, Restart, bring_up, inspect, remove

Server = Callable[..., Program]


def ask(url: str | None, path: str = "/") -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}{path}", timeout=10) as answer:
        return json.loads(answer.read())


def pause_lines(home: Path) -> list[str]:
    return [line.rsplit("next start in ")[1] for line in log_lines(home) if "next start in" in line]


def log_lines(home: Path) -> list[str]:
    return supervision.tail(Home(home).log("web"), 10_000)


def supervisor_pid(home: Path) -> int:
    return int((home / "run" / "supervisord.pid").read_text())


def launcher_pid(home: Path) -> int:
    return json.loads(Home(home).status("web").read_text())["launcher"]["pid"]


def test_program_is_up_when_the_call_returns_and_gone_after_its_removal(home: Path, server: Server) -> None:
    up = bring_up(server("--child"))
    assert (up.state, up.health, up.restarts) == ("running", "passing", 0)
    assert ask(up.url)["pid"] == up.pid
    assert supervision.status(home) == [up]
    remove(home, "web", 5)
    assert supervision.status(home) == []
    eventually(lambda: not processes_of(home))
    remove(home, "web", 5)  # a killed destroy is repeated


def test_port_taken_at_the_last_moment_is_given_up_for_the_next(home: Path, server: Server) -> None:
    # Somebody with reservations of their own takes the port after it was chosen, with a server that looks healthy.
    program = server(working_directory=str(home / "mood"))
    assert program.port is not None
    (home / "mood").mkdir(parents=True)
    (home / "mood" / "slow").write_text("1")
    with ThreadPoolExecutor(1) as other:
        starting = other.submit(bring_up, program)
        eventually(lambda: Home(home).status("web").exists())
        command = [sys.executable, "-S", str(Path(__file__).with_name("sample_server.py")), str(program.port)]
        squatter = subprocess.Popen(command)
        try:
            up = starting.result(timeout=60)
            assert up.state == "running"
            assert ask(up.url)["pid"] == up.pid
            assert up.pid != squatter.pid
        finally:
            squatter.kill()
            squatter.wait()


def test_program_that_runs_already_is_left_alone(server: Server) -> None:
    first = bring_up(server())
    assert bring_up(server()).pid == first.pid
    changed = bring_up(server(environment={"COLOUR": "red"}))
    assert changed.pid != first.pid
    assert ask(changed.url)["environment"]["COLOUR"] == "red"
    assert changed.port == first.port


def test_killed_command_comes_back_on_its_port(home: Path, server: Server) -> None:
    up = bring_up(server())
    assert up.pid is not None
    os.kill(up.pid, signal.SIGKILL)
    again = eventually(lambda: (now := only_status(home)).health == "passing" and now.pid != up.pid and now)
    assert (again.port, again.restarts, again.state) == (up.port, 1, "running")


def test_killed_launcher_leaves_no_second_copy(home: Path, server: Server) -> None:
    up = bring_up(server("--child"))
    before = processes_of(home)
    os.kill(launcher_pid(home), signal.SIGKILL)
    again = eventually(lambda: (now := only_status(home)).health == "passing" and now.pid != up.pid and now)
    assert ask(again.url)["pid"] == again.pid
    eventually(lambda: len(processes_of(home)) == len(before))
    assert again.restarts == 1


def test_killed_supervisor_leaves_no_orphan_and_the_next_up_brings_all_back(home: Path, server: Server) -> None:
    up = bring_up(server("--child"))
    bring_up(server(name="other", port=up.port and up.port + 1))
    os.kill(supervisor_pid(home), signal.SIGKILL)
    eventually(lambda: not processes_of(home))
    assert [(now.name, now.state, now.pid) for now in supervision.status(home)] == [
        ("other", "stopped", None),
        ("web", "stopped", None),
    ]
    again = bring_up(server("--child"))
    assert (again.state, again.port) == ("running", up.port)
    eventually(lambda: all(now.state == "running" for now in supervision.status(home)))


def test_up_right_after_the_supervisor_was_killed_makes_no_duplicate(home: Path, server: Server) -> None:
    bring_up(server("--child"))
    usual = len(processes_of(home))
    supervisor = supervisor_pid(home)
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: not identity(supervisor))
    again = bring_up(server("--child"))
    assert ask(again.url)["pid"] == again.pid
    assert len(processes_of(home)) == usual


def test_failing_command_is_restarted_after_growing_pauses(home: Path, server: Server, tmp_path: Path) -> None:
    described = server(working_directory=str(tmp_path))
    up = bring_up(described)
    (tmp_path / "fail").touch()
    assert up.pid is not None
    os.kill(up.pid, signal.SIGKILL)
    eventually(lambda: only_status(home).state == "fatal")
    eventually(lambda: len(pause_lines(home)) >= 5)
    assert pause_lines(home)[:5] == ["0.05 s", "0.1 s", "0.2 s", "0.4 s", "0.4 s"]
    (tmp_path / "fail").unlink()
    assert bring_up(described).state == "running"


def test_command_that_answers_badly_is_restarted(home: Path, server: Server, tmp_path: Path) -> None:
    up = bring_up(server(working_directory=str(tmp_path)))
    (tmp_path / "sick").touch()
    eventually(lambda: any("health checks failed in a row" in line for line in log_lines(home)))
    (tmp_path / "sick").unlink()
    again = eventually(lambda: (now := only_status(home)).health == "passing" and now)
    assert again.pid != up.pid


def test_port_in_use_gives_the_next_one_and_it_is_kept(home: Path, server: Server, free_port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        up = bring_up(server())
        assert up.port is not None and up.port > free_port
    remove(home, "web", 5)
    assert bring_up(server()).port == up.port


def test_port_lost_while_down_is_replaced(home: Path, server: Server, tmp_path: Path) -> None:
    described = server(working_directory=str(tmp_path), restart=Restart(backoff_seconds=0.5))
    up = bring_up(described)
    assert up.pid is not None and up.port is not None
    (tmp_path / "fail").touch()
    os.kill(up.pid, signal.SIGKILL)
    eventually(lambda: only_status(home).pid is None)
    with socket.socket() as intruder:
        intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        intruder.bind(("127.0.0.1", up.port))
        intruder.listen()
        assert inspect(described, up.port).state == "foreign"
        (tmp_path / "fail").unlink()
        moved = bring_up(described)
        assert moved.state == "running" and moved.port != up.port


def test_environments_started_at_once_get_ports_of_their_own(make_home: Callable[[str], Path], server: Server) -> None:
    wanted = [server(home=make_home(f"environment-{number}")) for number in range(3)]
    wanted += [replace(wanted[0], name="second"), replace(wanted[0], name="third")]
    with ThreadPoolExecutor(len(wanted)) as threads:
        up = list(threads.map(bring_up, wanted))
    assert len({program.port for program in up}) == len(wanted)
    assert all(program.state == "running" for program in up)


def test_environment_that_is_down_keeps_its_port_from_others(make_home: Callable[[str], Path], server: Server) -> None:
    first_home = make_home("first")
    first = bring_up(server(home=first_home))
    os.kill(supervisor_pid(first_home), signal.SIGKILL)
    eventually(lambda: not processes_of(first_home))
    assert bring_up(server(home=make_home("second"))).port != first.port
    assert bring_up(server(home=first_home)).port == first.port


def test_secrets_reach_the_program_and_nothing_else(
    home: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "cloud-key-of-the-person")
    secret_file = tmp_path / "password"
    secret_file.write_text("first-password\n")
    up = bring_up(
        server(secret_environment={"TOKEN": "t0ken-{port}"}, secret_references={"PASSWORD": f"file:{secret_file}"})
    )
    environment = ask(up.url)["environment"]
    assert (environment["TOKEN"], environment["PASSWORD"]) == (f"t0ken-{up.port}", "first-password")
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert {"PATH", "HOME"} <= environment.keys()
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "t0ken" not in listing and "first-password" not in listing
    holders = [path for path in home.rglob("*") if path.is_file() and b"t0ken" in path.read_bytes()]
    assert holders == [Home(home).secrets("web")]
    assert holders[0].stat().st_mode & 0o777 == 0o600
    assert (home / "run").stat().st_mode & 0o777 == 0o700

    secret_file.write_text("second-password\n")
    assert up.pid is not None
    os.kill(up.pid, signal.SIGKILL)
    eventually(lambda: (now := only_status(home)).health == "passing" and now.pid != up.pid)
    assert ask(up.url)["environment"]["PASSWORD"] == "second-password"


def test_failed_start_tells_the_end_of_the_log_and_can_be_repeated(home: Path, server: Server, tmp_path: Path) -> None:
    described = server(working_directory=str(tmp_path))
    (tmp_path / "fail").touch()
    with pytest.raises(UserError) as failure:
        bring_up(described)
    assert "exit status 3" in str(failure.value)
    assert "cannot start: a file named fail is here" in str(failure.value).splitlines()[-2]
    assert not processes_of(home)
    assert Home(home).log("web").exists()
    (tmp_path / "fail").unlink()
    assert bring_up(described).state == "running"


def test_start_that_never_gets_healthy_fails_in_time(home: Path, server: Server, tmp_path: Path) -> None:
    (tmp_path / "sick").touch()
    with pytest.raises(UserError, match=r"GET /health on port .* was not answered as healthy within 1 s"):
        bring_up(server(working_directory=str(tmp_path), health_check=HealthCheck("/health", timeout_seconds=1)))
    assert not processes_of(home)


def test_unknown_command_is_named(server: Server) -> None:
    with pytest.raises(UserError, match="cannot start /no/such/program: No such file or directory"):
        bring_up(server(command=["/no/such/program"]))


def test_missing_secret_is_named(server: Server) -> None:
    with pytest.raises(UserError, match="the secret for PASSWORD cannot be read from /no/such/file"):
        bring_up(server(secret_references={"PASSWORD": "file:/no/such/file"}))


def test_preparation_runs_before_every_start_and_its_failure_is_one(home: Path, server: Server, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    note = [["sh", "-c", f"echo {word} $COLOUR {{port}} >> {notes}"] for word in ("one", "two")]
    up = bring_up(server(prepare=note, environment={"COLOUR": "red"}))
    assert notes.read_text() == f"one red {up.port}\ntwo red {up.port}\n"
    with pytest.raises(UserError, match="the preparation 'sh -c exit 7' ended with exit status 7"):
        bring_up(server(prepare=[["sh", "-c", "exit 7"]]))


def test_stubborn_program_is_killed_with_its_children(home: Path, server: Server) -> None:
    bring_up(server("--stubborn", "--child", stop_timeout_seconds=0.3))
    remove(home, "web", 0.3)
    assert not processes_of(home)


def test_long_path_works(make_home: Callable[[str], Path], server: Server) -> None:
    deep = make_home("/".join(["a-rather-long-directory-name"] * 6))
    assert bring_up(server(home=deep)).state == "running"


def test_changed_configuration_is_seen_and_put_right(home: Path, server: Server) -> None:
    described = server()
    up = bring_up(described)
    config = Home(home).program("web")
    config.write_text(config.read_text().replace("/health", "/elsewhere"))
    assert inspect(described, up.port).state == "changed"
    assert bring_up(described).state == "running"
    assert inspect(described, up.port).state == "running"


def test_foreign_process_with_a_recorded_id_is_not_taken_for_ours(home: Path, server: Server) -> None:
    bring_up(server())
    os.kill(supervisor_pid(home), signal.SIGKILL)
    eventually(lambda: not processes_of(home))
    notes = json.loads(Home(home).status("web").read_text())
    notes.update(phase="running")
    notes["launcher"]["pid"] = notes["command"] = os.getpid()  # as if the id were used again
    Home(home).status("web").write_text(json.dumps(notes))
    assert only_status(home).state == "stopped"
    remove(home, "web", 0)  # and it is not killed either


def test_log_is_rotated(home: Path, server: Server) -> None:
    up = bring_up(server(log_maximum_bytes=2000, log_backups=2))
    for _ in range(100):
        ask(up.url)
    logs = eventually(lambda: len(found := sorted((home / "logs").glob("web.log*"))) == 3 and found)
    assert [path.name for path in logs] == ["web.log", "web.log.1", "web.log.2"]


def test_program_that_runs_once_stays_finished(home: Path, server: Server, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    job = server(
        name="job",
        port=None,
        health_check=None,
        command=["sh", "-c", f"echo ran >> {notes}"],
        restart=Restart(policy="never"),
    )
    assert bring_up(job).state == "finished"
    bring_up(server())
    os.kill(supervisor_pid(home), signal.SIGKILL)
    bring_up(server())
    assert bring_up(job).state == "finished"
    assert notes.read_text() == "ran\n"


def test_cancelled_wait_leaves_the_program_starting(server: Server, tmp_path: Path) -> None:
    (tmp_path / "slow").write_text("1.5")
    described = server(working_directory=str(tmp_path))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(UserError, match="Cancelled while web was starting"):
        bring_up(described, cancelled)
    up = bring_up(described)  # the repeated `up` waits for the same start
    assert (up.state, up.restarts) == ("running", 0)


def test_removed_directory_has_nothing_running_in_it(home: Path, server: Server) -> None:
    directory = Directory()
    _, state = directory.create({"path": str(home), "mode": "0700"})
    bring_up(server("--child"))  # by an `up` that was killed before it recorded this
    directory.delete(state)
    assert not home.exists()
    assert not processes_of(home)


def test_supervisor_that_lost_its_files_is_ended_with_its_programs(home: Path, server: Server) -> None:
    bring_up(server("--child"))
    shutil.rmtree(home / "run")
    remove(home, "web", 5)
    assert not processes_of(home)


def test_removal_after_everything_that_watches_was_killed(home: Path, server: Server) -> None:
    bring_up(server("--child"))
    os.kill(supervisor_pid(home), signal.SIGSTOP)  # so that it cannot start another launcher
    os.kill(launcher_pid(home), signal.SIGKILL)
    os.kill(supervisor_pid(home), signal.SIGKILL)
    remove(home, "web", 5)
    eventually(lambda: not processes_of(home))


def test_worker_without_a_port(home: Path, server: Server) -> None:
    worker = server(port=None, health_check=None, command=[sys.executable, "-c", "import time; time.sleep(600)"])
    up = bring_up(worker)
    assert (up.state, up.port, up.url, up.health) == ("running", None, None, "unknown")
