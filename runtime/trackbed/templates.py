"""Access to the documents of the trackbed_templates package: schemas, starter files, tool configurations."""

from __future__ import annotations

from importlib.resources import files
from typing import Any


def template_text(path: str) -> str:
    """Return the text of a template file.

    Args:
        path: path below templates/trackbed_templates, with forward slashes.
    """
    return files("trackbed_templates").joinpath(path).read_text(encoding="utf-8")


def render(path: str, **values: Any) -> str:
    """Render a Jinja2 template; a name it uses that is not given is an error.

    Args:
        path: path below templates/trackbed_templates.
        **values: the names the template uses.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(template_text(path)).render(**values)
