from pathlib import Path

import pytest
from exporting import export


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that no test may change."""
    folder = tmp_path_factory.mktemp("grey") / "model"
    export(folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An export that a test may damage."""
    export(tmp_path / "model")
    return tmp_path / "model"
