from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import optuna
from trackbed.contract import Tuning
from trackbed.tuning.storage import open_storage


def test_a_record_cut_off_by_a_kill_does_not_spoil_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "studies.journal"
    tuning = Tuning(storage=f"journal:{path}", parallel_trials=1)
    launcher = cast(Any, None)  # a journal has no secret to resolve
    study = optuna.create_study(storage=open_storage(tuning, launcher), study_name="cut")
    study.add_trial(optuna.create_trial(value=1.0))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "worker')

    again = optuna.load_study(storage=open_storage(tuning, launcher), study_name="cut")
    again.add_trial(optuna.create_trial(value=2.0))
    reread = optuna.load_study(storage=open_storage(tuning, launcher), study_name="cut")
    assert [trial.value for trial in reread.trials] == [1.0, 2.0]
    assert path.read_bytes().startswith(whole)
