"""The commands of `trackbed`, one module each, each with a `click.Command` named `command`."""
