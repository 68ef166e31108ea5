"""The house: rooms import only upwards, no cycles, one subject a file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hyperagent"

ORDER = [
    "errors",
    "registry",
    "datadir",
    "credentials",
    "config",
    "hypergraph",
    "sparsity",
    "llm",
    "tasks",
    "topology",
    "team",
    "bench",
    "learning",
    "testing",
    "viewer",
    "cli",
    "demo",
    "__main__",
]
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 450
HEAVY = {"torch", "torch_geometric", "networkx", "openai", "xllamacpp", "scipy", "matplotlib"}
HEAVY |= {"pytest", "pydantic", "gguf", "tokenizers"}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def own_imports(path: Path, *, top_level: bool = False) -> list[tuple[str, int]]:
    """Modules of ours that a file imports, with line numbers; typing-only imports left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped.update(child for part in node.body for child in ast.walk(part))
    found: list[tuple[str, int]] = []
    for node in tree.body if top_level else ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(a.name, node.lineno) for a in node.names if a.name.startswith("hyperagent")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hyperagent"):
            found += [(f"{node.module}.{a.name}", node.lineno) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    here = room_of(module_of(path))
    if not here:
        return
    assert here in ORDER, f"room {here} has no place in the list"
    for module, line in own_imports(path):
        there = room_of(module)
        # `from hyperagent import llm` names the room; the version is not a room.
        if there in ("", "__version__"):
            continue
        assert there in ORDER, f"{path}:{line} imports unknown room {there}"
        assert ORDER.index(there) <= ORDER.index(here), f"{path}:{line}: {here} imports {there}"


def test_modules_of_a_room_do_not_import_each_other_in_a_circle() -> None:
    modules = {module_of(path): path for path in FILES}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = set()
        for imported, _ in own_imports(path, top_level=True):
            while imported not in modules:
                imported = imported.rpartition(".")[0]
            if imported != name and modules[imported].name != "__init__.py":
                targets.add(imported)
        graph[name] = targets
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in done:
            return
        for target in sorted(graph[name]):
            visit(target, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_our_own_modules_are_imported_at_the_top(path: Path) -> None:
    """An import inside a function could hide a cycle. It may only spare a heavy library."""
    if room_of(module_of(path)) in ("cli", "", "__main__"):
        return
    # Every pytest run of an environment with hyperagent loads this plug-in, so it imports nothing.
    if path.relative_to(PACKAGE).as_posix() == "testing/plugin.py":
        return
    top = set(own_imports(path, top_level=True))
    for module, line in own_imports(path):
        if (module, line) not in top:
            assert heavy_of(module), f"{path}:{line} imports {module} inside a function"


def heavy_of(module: str) -> set[str]:
    """Heavy libraries that a module of ours imports when it is imported."""
    modules = {module_of(path): path for path in FILES}
    while module not in modules:
        module = module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.parse(modules[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names & HEAVY


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_stays_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{path} has {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path}: no docstring"
