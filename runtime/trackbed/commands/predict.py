"""`trackbed predict`: ask an endpoint for predictions."""

from __future__ import annotations

from typing import Any

import click

from trackbed.commands.options import environment_option, json_option

CONTENT_TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


@click.command(epilog="Example: trackbed predict digits --data @rows.json")
@environment_option
@json_option
@click.option(
    "--data",
    metavar="JSON|@FILE|-",
    help="JSON as MLflow's /invocations takes it, or a list of rows; @FILE reads JSON, .csv or .parquet; - reads JSON "
    "from standard input.",
)
@click.option(
    "--row",
    "rows",
    multiple=True,
    metavar="JSON",
    help="One row, an object of column to value or a list of values; may be repeated.",
)
@click.argument("endpoint")
def command(environment: str | None, as_json: bool, data: str | None, rows: tuple[str, ...], endpoint: str) -> None:
    """Print ENDPOINT's predictions, one a line."""
    import json

    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for
    from trackbed.serving.client import find_endpoint

    if (data is None) == (not rows):
        raise click.UsageError("give either --data or --row")
    contract = resolve_environment(environment).contract
    client = find_endpoint(contract, launcher_for(contract), endpoint)
    body, content_type = _read(data) if data is not None else (_from_rows(rows), "application/json")
    answer = client.predict(body, content_type)
    if as_json:
        click.echo(json.dumps(answer))
        return
    predictions = answer.get("predictions", answer) if isinstance(answer, dict) else answer
    for prediction in predictions if isinstance(predictions, list) else [predictions]:
        click.echo(prediction if isinstance(prediction, str) else json.dumps(prediction))


def _read(data: str) -> tuple[bytes, str]:
    import sys
    from pathlib import Path

    from trackbed.errors import UserError

    if data == "-":
        return _wrap(sys.stdin.read()), "application/json"
    if not data.startswith("@"):
        return _wrap(data), "application/json"
    file = Path(data[1:])
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"the file {file} cannot be read: {error.strerror}") from error
    content_type = CONTENT_TYPES.get(file.suffix.lower())
    if content_type is not None:
        return content, content_type
    return _wrap(content.decode("utf-8", errors="replace")), "application/json"


def _wrap(text: str) -> bytes:
    """Give bare rows the name that MLflow's format wants; anything else goes as it is."""
    import json

    document = _parse(text)
    return json.dumps(_named(document) if isinstance(document, list) else document).encode()


def _from_rows(rows: tuple[str, ...]) -> bytes:
    import json

    return json.dumps(_named([_parse(row) for row in rows])).encode()


def _named(rows: list[Any]) -> dict[str, Any]:
    return {"dataframe_records" if all(isinstance(row, dict) for row in rows) else "inputs": rows}


def _parse(text: str) -> Any:
    import json

    from trackbed.errors import UserError

    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(
            f"{text[:200]!r} is not JSON: {error}", hint="for a file write @FILE, for example --data @rows.json"
        ) from error
