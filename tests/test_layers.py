"""Imports point down only, and what ships with an export needs torch alone."""

import ast
import graphlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the contracts of `pyproject.toml` on the package in a folder."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_the_contracts_are_kept(root):
    result = lint(root)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "module, line",
    [
        ("runtime/ops.py", "import aebnas.supernet.supernet"),
        ("runtime/exit_policy.py", "import numpy"),
        ("runtime/normalise.py", "import PIL"),
        ("cost/counts.py", "import aebnas.policies.exit_table.exit_table"),
        ("space/spec.py", "import aebnas.strategies.strategy"),
        ("search/plan.py", "import torch"),
        ("search/loop.py", "import aebnas.report.html"),
        ("selected/retrain.py", "import aebnas.report.html"),
        ("report/html.py", "import aebnas.selected.retrain"),
        ("run/front_files.py", "import aebnas.report.html"),
        ("cli/runs.py", "import aebnas.api"),
    ],
)
def test_the_contracts_can_break(root, tmp_path, module, line):
    shutil.copytree(root / "aebnas", tmp_path / "aebnas", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    broken = tmp_path / "aebnas" / module
    broken.write_text(f"{broken.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    result = lint(tmp_path)
    assert result.returncode == 1
    importer = "aebnas." + module.removesuffix(".py").replace("/", ".")
    assert f" {importer} -> {line.removeprefix('import ')} (l." in result.stdout


def test_imports_for_annotations_point_down_too(root, tmp_path):
    """The contracts pass over `if TYPE_CHECKING`; only the package itself may look up there, for the public names."""
    shutil.copytree(root / "aebnas", tmp_path / "aebnas", ignore=shutil.ignore_patterns("__pycache__"))
    config = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in config["contracts"] if contract["type"] == "layers")
    lines = ["[importlinter]", "root_package = aebnas", "[importlinter:contract:1]", "name = all imports"]
    lines += ["type = layers", "containers = aebnas", "layers =", *(f"    {layer}" for layer in layers)]
    (tmp_path / ".importlinter").write_text("\n".join(lines), encoding="utf-8")
    package = tmp_path / "aebnas" / "__init__.py"
    text = re.sub(r"(?m)^    from aebnas.api import .*$", "    pass", package.read_text(encoding="utf-8"))
    package.write_text(text, encoding="utf-8")
    result = lint(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    with (tmp_path / "aebnas" / "runtime" / "ops.py").open("a", encoding="utf-8") as handle:
        handle.write("if TYPE_CHECKING:\n    import aebnas.report.html\n")
    assert lint(tmp_path).returncode == 1


def test_the_package_root_holds_the_api_and_the_rooms_alone(root):
    names = {path.name for path in (root / "aebnas").iterdir() if path.name != "__pycache__"}
    rooms = "cli search selected report run evaluation training export supernet policies strategies cost space data"
    assert names == {"__init__.py", "api.py", "py.typed", "runtime", "core", *rooms.split()}


def test_runtime_imports_torch_and_the_standard_library_only(root):
    """Relative imports besides: an export ships the modules under another package name. What reads images needs Pillow
    and NumPy instead, and nothing else of the runtime: a driver without torch loads that file alone."""
    for path in (root / "aebnas" / "runtime").glob("*.py"):
        reads_images = path.name == "preprocessing.py"
        allowed = sys.stdlib_module_names | ({"numpy", "PIL"} if reads_images else {"torch"})
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0 or not reads_images, f"{path.name} imports {node.module}"
                names += [] if node.level else [node.module or ""]
            for name in names:
                assert name.split(".")[0] in allowed, f"{path.name} imports {name}"


def test_package_files_hold_one_docstring_and_nothing_else(root):
    hands_out_the_api = root / "aebnas" / "__init__.py"
    for path in set((root / "aebnas").rglob("__init__.py")) - {hands_out_the_api}:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        rest = body[1:]
        assert ast.get_docstring(ast.Module(body, [])), f"{path} says nothing"
        assert all(isinstance(node, ast.Assign) for node in rest), f"{path} does more than say what lives there"


def imported_by(path: Path, root: Path) -> set[str]:
    """Modules of the package that a module imports, inside functions too, but not for type checkers."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*start, *(node.module.split(".") if node.module else [])])
            found.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def import_graph(root: Path) -> dict[str, set[str]]:
    """Every module of the package but its root, which hands out the API, with the modules it imports."""
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in (root / "aebnas").rglob("*.py")
        if path.name != "__init__.py"
    }
    return {name: imported_by(path, root) & modules.keys() for name, path in modules.items()}


def test_no_import_circle_hides_inside_functions(root, tmp_path):
    graph = import_graph(root)
    assert "aebnas.core.errors" in graph["aebnas.cost.counts"] and "aebnas.runtime.op" in graph["aebnas.runtime.ops"]
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError

    folder = tmp_path / "aebnas"
    folder.mkdir()
    (folder / "one.py").write_text("from .other import a\n", encoding="utf-8")
    (folder / "other.py").write_text("def a():\n    from aebnas import one\n", encoding="utf-8")
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(import_graph(tmp_path)).prepare()
