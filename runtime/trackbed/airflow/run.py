"""What the engine starts with the interpreter of Airflow's environment: `python -P run.py DAG.py [OPTIONS]`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if __name__ == "__main__":
    # Trackbed is the directory above, also where the project's requirements bring another one into this environment.
    root = Path(__file__).absolute().parents[1]
    found = importlib.util.spec_from_file_location(
        "trackbed", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert found is not None
    sys.modules["trackbed"] = importlib.util.module_from_spec(found)

    from trackbed.airflow.program import main

    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # while no DAG was running yet
        sys.exit(130)
