import importlib

import pytest


@pytest.fixture
def benchmark(root, monkeypatch):
    """Import a module of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module
