from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tuning_ground import Ground


@pytest.fixture(scope="session")
def ground(environment: Any) -> Ground:
    contract = environment.contract
    return Ground(contract.tracking.address.internal, contract, Path(contract.home), environment.variables)
