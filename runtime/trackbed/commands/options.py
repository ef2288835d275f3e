"""Options that several commands share."""

from __future__ import annotations

import click

environment_option = click.option(
    "-e",
    "--environment",
    "environment",
    metavar="NAME|URI",
    help="The environment: a name, or the path of its contract. "
    "Otherwise TRACKBED_ENVIRONMENT, the project's trackbed.yaml, or the only local one.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
