"""aebnas: multi-objective, hardware-aware architecture search for early-exit networks.

From Python: `run = aebnas.search("my.yaml")` or `aebnas.open("results/my")`; see `aebnas.api`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from aebnas.core.errors import UserError
from aebnas.core.version import __version__ as __version__

if TYPE_CHECKING:
    from aebnas.api import Picked, SearchRun, compare, init, search, search_seeds
    from aebnas.api import open_run as open

__all__ = ["Picked", "SearchRun", "UserError", "compare", "init", "open", "search", "search_seeds"]


def __getattr__(name: str) -> Any:
    """The public names, brought in when first used: they need torch, and `import aebnas` shall take no time."""
    if name not in __all__:
        raise AttributeError(f"module 'aebnas' has no attribute '{name}'")
    return getattr(import_module("aebnas.api"), "open_run" if name == "open" else name)


class _Package(ModuleType):
    """`aebnas.search` is the function, although a folder has its name: importing that folder would put itself there.

    Its modules are imported from it: `from aebnas.search.loop import run_search`.
    """

    @property
    def search(self) -> Any:
        return import_module("aebnas.api").search

    @search.setter
    def search(self, folder: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
