"""Schemas, Jinja2 templates and starter files, read through importlib.resources."""
