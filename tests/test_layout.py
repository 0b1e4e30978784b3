"""The layout: dependencies point one way, modules say why they exist, files stay readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "rushes"
MODULES = sorted(SOURCE.rglob("*.py"))

# Each part may import these and itself. `settings` is read by what runs processes.
ALLOWED = {
    "catalog": set(),
    "sdk": {"catalog"},
    "instrument": {"catalog", "sdk"},
    "quality": {"catalog", "sdk"},
    "studio": {"catalog", "sdk", "instrument", "quality", "settings"},
    "store": {"catalog"},
    "ingest": {"catalog", "sdk", "store"},
    "query": {"catalog", "store"},
    "alerts": {"catalog", "query"},
    "dashboards": {"catalog"},
    "web": {"catalog", "sdk", "query", "dashboards", "alerts", "settings", "store"},
    "settings": {"catalog"},
}
TOP = {"launch", "cli", "cli_base", "cli_keys", "__init__", "__main__"}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name == "rushes" or name.startswith("rushes.")}


def _part(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_dependencies_point_one_way(path: Path) -> None:
    part = _part(path)
    if part in TOP:
        return
    assert part in ALLOWED, f"{part} is a new part: say what it may import"
    for name in _imports(path):
        other = name.split(".")[1] if "." in name else "rushes itself"
        assert other == part or other in ALLOWED[part], f"{path.name} imports {name}"


def test_query_and_web_see_the_stores_interface_only() -> None:
    for path in MODULES:
        if _part(path) in {"query", "web"}:
            stores = {name for name in _imports(path) if name.startswith("rushes.store")}
            assert stores <= {"rushes.store.interface"}, path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_says_why_it_exists_and_is_readable_at_a_sitting(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "no docstring atop the module"
    assert len(path.read_text().splitlines()) <= 420


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.name == "__init__.py"], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_what_a_package_exports_is_there(path: Path) -> None:
    tree = ast.parse(path.read_text())
    exported = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    imported = {
        alias.asname or alias.name for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names
    }
    defined = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    defined |= {getattr(n.target, "id", "") for n in tree.body if isinstance(n, ast.AnnAssign)}
    for names in exported:
        assert set(names) <= imported | defined
        assert len(names) == len(set(names))
