"""Imports between rooms go one way: what CONTRIBUTING.md draws."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ase_kan"
#: Later rooms may import earlier ones; those on one line know each other in one direction at most.
RANKS = (
    {"version", "types", "warn"},
    {"kan", "data"},
    {"potentials"},
    {"fit", "engines", "exports", "analysis"},
    {"calculator", "dynamics"},
    {"plots", "plugin", "validation"},
    {"cli", "__main__"},
)


def imported(path):
    """Modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ase_kan":
            inside = node.module.split(".")[1:]
            for alias in node.names:
                module = (*inside, alias.name)
                is_module = PACKAGE.joinpath(*module).is_dir() or PACKAGE.joinpath(*module).with_suffix(".py").exists()
                yield ".".join(module if is_module or not inside else inside)
        elif isinstance(node, ast.Import):
            yield from (alias.name[8:] for alias in node.names if alias.name.startswith("ase_kan."))


def test_imports_run_one_way():
    """Between rooms by rank; within a room, and between rooms of a rank, without circles."""
    rank = {room: n for n, rooms in enumerate(RANKS) for room in rooms}
    rooms, modules = {}, {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name == "__init__":
            continue
        room = name.split(".")[0]
        for other in map(str, imported(path)):
            assert rank[other.split(".")[0]] <= rank[room], f"{name} imports {other}"
            modules.setdefault(name, set()).add(other)
            if other.split(".")[0] != room:
                rooms.setdefault(room, set()).add(other.split(".")[0])
    for graph in (rooms, modules):
        assert list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_no_file_has_two_ideas():
    """400 lines are the most that a file holds."""
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.?pp")]:
        assert len(path.read_text().splitlines()) <= 400, path
