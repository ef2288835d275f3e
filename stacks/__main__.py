"""The Pulumi program of this project: one environment per stack, described in Pulumi.<stack>.yaml beside this file."""

from pathlib import Path

from trackbed_components.program import main

main(Path(__file__).resolve().parent.parent)
