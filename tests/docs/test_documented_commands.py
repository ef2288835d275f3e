"""Every command of the documentation, run as a person types it, with its effect."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import yaml
from conftest import Typist, World
from documentation import ROOT, blocks
from mlflow import MlflowClient
from mlflow.entities import Run
from support import EXECUTABLES
from trackbed.engine_environments import environment_for
from trackbed.spec import read_spec

PROGRAMS = ROOT / "tests" / "programs"


def runs(world: World, experiment: str) -> list[Run]:
    """The runs of an experiment, the last one first."""
    found = world.registry.get_experiment_by_name(experiment)
    return [] if found is None else list(world.registry.search_runs([found.experiment_id]))


# -- make -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_demo(clone: Typist) -> None:
    typed = clone
    told = typed("make demo").stdout
    assert "[4/4] took" in told
    assert "of 360 held-out images are right" in told
    assert "skip" not in told
    digits = clone.root / "digits"
    assert "predicted 7, true label 7" in typed("trackbed run predict.py", cwd=digits).stdout
    assert "registered as digits version 2" in typed("trackbed run flow.py", cwd=digits).stdout
    assert "local is down" in typed("make down").stderr


def test_make_lists_its_targets(typed: Typist) -> None:
    told = typed("make help").stdout
    assert all(f"make {target}" in told for target in ("demo", "down", "test", "lint", "docs"))


def test_what_continuous_integration_runs(typed: Typist) -> None:
    """The suites cannot run inside themselves: what `make` would start is compared, and .ci/run starts it."""
    assert 'pytest -m "not slow and not benchmark"' in typed("make test", before="export MAKEFLAGS=n").stdout
    lint = typed("make lint", before="export MAKEFLAGS=n").stdout
    assert all(tool in lint for tool in ("ruff format --check", "ruff check", "pyright"))
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert {"make lint", "make test"} <= set(ci)


def test_docs_are_written(typed: Typist) -> None:
    page = typed.root / "docs" / "commands" / "up.md"
    page.unlink()
    typed("make docs")
    assert page.read_text() == (ROOT / "docs" / "commands" / "up.md").read_text()


def test_the_virtual_environment_is_entered(typed: Typist) -> None:
    entered = typed("source .venv/bin/activate", before="PATH=/usr/bin:/bin", after="command -v trackbed").stdout
    assert Path(entered.strip()).samefile(EXECUTABLES / "trackbed")


# -- a look at the environment ----------------------------------------------------------------------------------------


def test_status(world: World, typed: Typist) -> None:
    for told in (typed("trackbed status").stdout, typed("trackbed status local").stdout):
        assert "endpoint-digits" in told
        assert "running" in told
    services = json.loads(typed("trackbed status local --json").stdout)["services"]
    assert {service["health"] for service in services} == {"passing"}


def test_logs(world: World, typed: Typist) -> None:
    assert "GET /" in typed("trackbed logs").stdout
    assert "GET /" in typed("trackbed logs tracking").stdout
    assert "version 1 is loaded" in typed("trackbed logs digits -n 100").stdout
    typed.until("trackbed logs tracking --follow", "GET /")


def test_doctor(world: World, typed: Typist) -> None:
    told = typed("trackbed doctor -e local").stdout
    assert "LOOKED AT" in told
    passphrase = world.root / ".trackbed" / "passphrase"
    passphrase.chmod(0o644)
    told = typed.also("! trackbed doctor -e local").stdout
    passphrase.chmod(0o600)
    assert "chmod" in told


def test_check(world: World, typed: Typist) -> None:
    models = {model.name for model in world.registry.search_registered_models()}
    assert "local works, from training to a served prediction" in typed("trackbed check -e local").stdout
    assert {model.name for model in world.registry.search_registered_models()} == models


def test_open_prints_the_address(world: World, typed: Typist) -> None:
    assert typed("trackbed open tracking --url").stdout.strip() == world.contract.tracking.address.external


def test_environment(world: World, typed: Typist) -> None:
    url = world.contract.tracking.address.internal
    assert url in typed("trackbed environment").stdout
    assert json.loads(typed("trackbed environment --json").stdout)["environment"]["name"] == "local"
    assert f"export MLFLOW_TRACKING_URI={url}" in typed("trackbed environment --export shell").stdout
    assert f"export MLFLOW_TRACKING_URI={url}" in typed("trackbed environment --export mlflow").stdout
    given = typed('eval "$(trackbed environment --export shell)"', after="env").stdout
    assert f"TRACKBED_ENDPOINT_DIGITS_URL={world.contract.endpoints['digits'].address.internal}" in given


def test_connect(world: World, typed: Typist) -> None:
    """As a colleague does, who has known none of it."""
    beside = typed.root.parent / "elsewhere"
    colleague = f"export XDG_DATA_HOME={beside}/colleague"
    typed("trackbed connect ../platform/.trackbed/environments/local/contract.json", cwd=beside, before=colleague)
    assert "tracking" in typed("trackbed status local", cwd=beside, before=colleague).stdout
    typed(
        "trackbed connect ../platform/.trackbed/environments/local/contract.json --name theirs",
        cwd=beside,
        before=colleague,
    )
    assert "tracking" in typed.also(f"{colleague} && trackbed status theirs", cwd=beside).stdout


def test_preview_validate_and_up_find_nothing_to_do(world: World, typed: Typist) -> None:
    assert "nothing would change" in typed("trackbed preview local").stdout
    assert "valid" in typed("trackbed validate").stdout
    assert typed("trackbed validate stacks/Pulumi.local.yaml").stdout == "stacks/Pulumi.local.yaml: valid\n"
    assert "nothing to change" in typed("trackbed up local --yes").stderr


def test_plain_pulumi(world: World, typed: Typist) -> None:
    export = 'eval "$(trackbed environment --export pulumi)"'
    state = f"PULUMI_BACKEND_URL=file://{world.root}/.trackbed/state?metadata=skip"
    assert state in typed('eval "$(trackbed environment --export pulumi)"', after="env").stdout
    assert "20 unchanged" in typed("pulumi preview -s local", before=export).stdout
    # The answer to its question, since there is no person at a terminal here.
    agreed = f"{export} && export PULUMI_OPTION_YES=true"
    assert "20 unchanged" in typed("pulumi up -s local", before=agreed).stdout
    assert "20 unchanged" in typed("pulumi refresh -s local", before=agreed).stdout


# -- environments -----------------------------------------------------------------------------------------------------


def test_another_environment_beside_it(world: World, typed: Typist) -> None:
    stacks = world.root / "stacks"
    typed("trackbed new-environment staging --target local")
    # Edited as a person would, here to the other's tracking server: quick to bring up.
    url = world.contract.tracking.address.internal
    file = stacks / "Pulumi.staging.yaml"
    file.write_text(file.read_text().replace("    # tracking:\n", f"    tracking: {{url: '{url}'}}\n"))
    assert "staging-contract" in typed("trackbed preview staging").stdout
    typed("trackbed up staging", answer="y\n")
    shown = json.loads(typed.also("trackbed environment --json -e staging").stdout)
    assert shown["environment"]["tracking"]["address"]["internal"] == url
    typed("trackbed new-environment production --from staging")
    assert read_spec(stacks / "Pulumi.production.yaml") == read_spec(file)
    typed.also("trackbed down staging --delete-data --yes")
    file.unlink()
    (stacks / "Pulumi.production.yaml").unlink()
    typed("trackbed new-environment staging --from local --target kubernetes")
    assert read_spec(file) == replace(read_spec(stacks / "Pulumi.local.yaml"), target="kubernetes")
    file.unlink()


# -- programs ---------------------------------------------------------------------------------------------------------


def test_new_projects(world: World, typed: Typist) -> None:
    typed("trackbed new-project mine", cwd=world.work)
    assert yaml.safe_load((world.work / "mine" / "trackbed.yaml").read_text()) == {"environment": "local"}
    typed("trackbed new-project digits", cwd=world.work)
    assert (world.work / "digits" / "flow.py").exists()


def test_metaflow_flows(world: World, typed: Typist) -> None:
    assert "3 trials" in typed("trackbed run flow.py", cwd=world.work).stdout
    broken = typed("trackbed run flow.py run --n_trials 20", cwd=world.work, before="export BREAK=1", status=1)
    assert "20 trials" in broken.stdout
    assert "Done!" in typed("trackbed run flow.py resume", cwd=world.work).stdout
    assert "default-" in typed("trackbed run flow.py card list", cwd=world.work).stderr
    typed('eval "$(trackbed environment --export metaflow)" && python flow.py run', cwd=world.work)
    kept = world.root / ".trackbed/environments/local/data/artifacts/metaflow/.metaflow/SmallFlow"
    assert len([path for path in kept.iterdir() if path.name.isdigit()]) == 4
    assert not (world.work / ".metaflow").exists()


def test_mlflow_scripts_and_projects(world: World, typed: Typist) -> None:
    before = len(runs(world, "Default"))
    typed("trackbed run train.py", cwd=world.work)
    assert "MLflow script" in typed("trackbed run -v train.py", cwd=world.work).stderr
    typed("python train.py", cwd=world.work, before='eval "$(trackbed environment --export shell)"')
    assert len(runs(world, "Default")) == before + 3
    typed("trackbed run train.py --alpha 0.3", cwd=world.work)
    assert runs(world, "Default")[0].data.params == {"alpha": "0.3"}
    typed("trackbed run project -P alpha=0.4", cwd=world.work)
    assert runs(world, "Default")[0].data.params["alpha"] == "0.4"


def test_another_pool(world: World, typed: Typist) -> None:
    slots = Path(str(world.contract.pools["large"].locks))
    assert not list(slots.glob("slot-*"))
    typed("trackbed run --pool large train.py", cwd=world.work)
    assert [slot.name for slot in slots.glob("slot-*")] == ["slot-0.lock"]


def test_airflow_dags(world: World, typed: Typist) -> None:
    told = typed("trackbed run etl.py --logical-date 2026-01-31", cwd=world.work).stdout
    assert "extracting 2026-01-31" in told
    assert "etl: success" in told


def test_kubeflow_pipelines(world: World, typed: Typist) -> None:
    shutil.copy(PROGRAMS / "kubeflow" / "hello.py", world.work / "pipeline.py")
    assert "Output = 'Hello, Ada!'" in typed("trackbed run pipeline.py --recipient Ada", cwd=world.work).stdout
    typed.also(f"{environment_for('kubeflow', world.work)}/bin/python pipeline.py", cwd=world.work)
    (world.work / "hello_pipeline.yaml").rename(world.work / "pipeline.yaml")
    assert "Output = 'Hello, Ada!'" in typed("trackbed run pipeline.yaml --recipient Ada", cwd=world.work).stdout


def test_tuning(world: World, typed: Typist) -> None:
    [study] = [block.text for block in blocks(ROOT / "docs" / "tuning.md") if block.language == "yaml"]
    (world.work / "study.yaml").write_text(study)
    (world.work / "digits.yaml").write_text(study.replace("maxTrialCount: 12", "maxTrialCount: 2"))
    assert not runs(world, "study")
    assert "all 12 trials are done" in typed("trackbed tune study.yaml", cwd=world.work).stdout
    assert len(runs(world, "study")) == 12 + 1
    result = json.loads(typed("trackbed tune study.yaml --json", cwd=world.work).stdout)
    assert result["trials"]["complete"] == 12
    assert Path(result["plot"]).exists()
    typed("trackbed tune digits.yaml", cwd=world.work)
    assert len(runs(world, "digits")) == 2 + 1


# -- models -----------------------------------------------------------------------------------------------------------


def champion(world: World) -> str:
    return world.registry.get_model_version_by_alias("digits", "champion").version


def test_promote_and_rollback(world: World, typed: Typist) -> None:
    typed("trackbed promote digits 2 && trackbed rollback digits")
    assert champion(world) == "1"
    assert "served by digits" in typed("trackbed promote digits 3").stdout
    assert champion(world) == "3"
    typed("trackbed rollback digits")
    assert champion(world) == "1"


def test_traffic(world: World, typed: Typist) -> None:
    typed("trackbed promote digits 2 --alias challenger")
    typed("trackbed traffic digits champion=90 challenger=10")
    assert typed("trackbed traffic digits").stdout.split()[:2] == ["champion", "90"]
    typed.also("trackbed traffic digits champion=100")


def test_predictions_and_the_http_api(world: World, typed: Typist) -> None:
    assert typed("""trackbed predict digits --row '{"age": 41, "income": 2900}'""").stdout == "2941.0\n"
    (world.work / "rows.json").write_text('[{"age": 1, "income": 2}, {"age": 3, "income": 4}]')
    assert typed("trackbed predict digits --data @rows.json", cwd=world.work).stdout == "3.0\n7.0\n"
    url = world.contract.endpoints["digits"].address.internal
    asked = [block.text for block in blocks(ROOT / "docs" / "serving.md") if block.language == "http"]
    answers = [send(url, text) for text in asked]
    assert [answer.status_code for answer in answers] == [200] * len(asked)
    assert answers[0].json() == {"predictions": [2941.0]}
    assert answers[1].json()["outputs"][0]["data"] == [2941.0]
    table = (ROOT / "docs" / "serving.md").read_text().split("| path | answer |")[1].split("\n\n")[0]
    paths = [word.removesuffix("`").replace("MODEL", "digits") for word in table.split("`GET ")[1:]]
    for path in [path.split("`")[0] for path in paths]:
        assert requests.get(url + path, timeout=10).status_code == 200, path
    metrics = requests.get(f"{url}/metrics", timeout=10).text
    named = (ROOT / "docs" / "serving.md").read_text().split("\nMetrics: ")[1].split("\n\n")[0]
    for metric in [word for word in named.split("`") if word.startswith("trackbed_")]:
        assert metric in metrics


def send(url: str, text: str) -> requests.Response:
    """Send a request as it stands on a page."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.splitlines()
    method, path = first.split()
    headers = dict(line.split(": ", 1) for line in lines)
    return requests.request(method, url + path, headers=headers, data=body, timeout=30)


# -- the end of it ----------------------------------------------------------------------------------------------------


def test_backup_restore_and_the_end(world: World, typed: Typist) -> None:
    home = world.root / ".trackbed/environments/local"
    assert "kept" in typed("make down").stderr
    assert not (home / "contract.json").exists()
    typed("cp -a .trackbed/environments/local backup")
    for part in ("data", "secrets"):
        shutil.rmtree(home / part)
        (world.root / "backup" / part).rename(home / part)
    typed("trackbed up local --yes")
    # Its port may be another one now: somebody took it while the environment was down.
    again = json.loads((home / "contract.json").read_text())["tracking"]["address"]["internal"]
    assert MlflowClient(again, again).get_model_version_by_alias("digits", "champion").version == "1"
    assert "kept" in typed("trackbed down local").stderr
    assert (home / "data/tracking/mlflow.db").exists()
    typed("trackbed down local --delete-data", answer="local\n")
    assert not home.exists()
