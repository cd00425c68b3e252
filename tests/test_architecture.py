"""The tree of the house: what may import what, which tool has which door, and how long a thing may be."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

PACKAGE = Path(__file__).parent.parent / "chrono_async"

LAYERS = [
    {"errors", "clock", "counts", "durations", "_tasks", "_threads"},
    {"schedules"},
    {"policies", "_json"},
    {"models"},
    {"claims"},
    {"events", "options"},
    {"storage"},
    {"engine"},
    {"decorators", "_html"},
    {"scheduler"},
    {"__init__"},
    {"testing", "cli"},
]
"""From the ground up. A room imports from its own layer's floor downwards, type-only imports included."""

STORAGES = {"memory", "file", "portable", "sqlite", "postgres", "redis"}

SHARED_BY_STORAGES = [{"base", "_awaited", "_boot", "_doors", "_hints", "_home"}, {"_channel"}, {"_table"}, {"_ledger"}]
"""What storages are built on, from the ground up."""

BESIDE = {("counts", "errors"), ("durations", "errors"), ("options", "events")}
"""The imports within a layer."""

DOORS = {
    "aiofiles": {"storage/_file/steps.py"},
    "anyio": {"_threads.py", "engine/signals.py"},
    "asyncpg": {"storage/_postgres/"},
    "filelock": {"storage/_file/commit.py"},
    "hypothesis": {"testing/_contract_model.py"},
    "pydantic": {"schedules/", "policies.py", "options.py", "_json.py"},
    "redis": {"storage/redis.py", "storage/_redis/"},
    "sqlite3": {"storage/_sqlite/"},
    "xmltodict": {"storage/_file/documents.py"},
    "yaml": {"storage/_file/documents.py"},
}
"""Each borrowed tool, and where it may be imported."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def room_of(name: str) -> str:
    return name.split("/", maxsplit=1)[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    """Return the absolute names of all modules that a file imports, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += absolute(path, node)
    return found


def absolute(path: Path, node: ast.ImportFrom) -> list[str]:
    if not node.level:
        return [node.module or ""]
    folder = path.parents[node.level - 1].relative_to(PACKAGE.parent)
    base = ".".join((*folder.parts, *([node.module] if node.module else [])))
    return [base] if node.module else [f"{base}.{alias.name}" for alias in node.names]


def inner_rooms(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports_of(path))
    return {part[1] if len(part) > 1 else "__init__" for part in parts if part[0] == "chrono_async"}


def layer_of(room: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if room in layer)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    """A type that one may not import is a type in the wrong room."""
    here = room_of(name_of(path))
    for room in inner_rooms(path) - {here}:
        below = layer_of(room) < layer_of(here)
        assert below or (here, room) in BESIDE, f"{name_of(path)} imports {room}"


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(name_of(p)) in LAYERS[-1]], ids=name_of)
def test_the_edges_use_the_front_door(path: Path) -> None:
    """What the edges need, users need too: so it is public."""
    here = f"chrono_async.{room_of(name_of(path))}"
    outside = {n for n in imports_of(path) if n.startswith("chrono_async") and not n.startswith(here)}
    assert outside <= {"chrono_async", "chrono_async.storage", "chrono_async.events"}


def test_the_engine_knows_of_storages_only_what_they_must_do() -> None:
    """So that a storage of a user's own is no worse off than ours."""
    seen = {n for p in MODULES if room_of(name_of(p)) == "engine" for n in imports_of(p) if ".storage." in n}
    assert seen == {"chrono_async.storage.base"}


def test_storages_do_not_import_each_other() -> None:
    """Each can be read, and left out, by itself: with the folder that it is made of."""
    for path in MODULES:
        home = storage_of(module_name(path))
        seen = {storage_of(name) for name in imports_of(path)} - {None, home}
        assert home is None or not seen, name_of(path)


def storage_of(module: str) -> str | None:
    """Return which storage a module is, or is a part of."""
    name = part_of_storage(module).removeprefix("_")
    return name if name in STORAGES else None


def test_what_storages_share_is_built_upwards() -> None:
    """The rules know of no medium, and the verbs over a medium know of none in particular."""
    floors = {name: floor for floor, names in enumerate(SHARED_BY_STORAGES) for name in names}
    for path in (PACKAGE / "storage").rglob("*.py"):
        here = part_of_storage(module_name(path))
        for inner in {part_of_storage(name) for name in imports_of(path)} - {"", here}:
            assert here not in floors or floors.get(inner, len(floors)) < floors[here], (
                f"{name_of(path)} imports {inner}"
            )


def part_of_storage(module: str) -> str:
    """Return the name of the module or folder in `storage/`, or nothing."""
    inner = module.removeprefix("chrono_async.storage")
    return "" if inner == module else inner.lstrip(".").split(".")[0]


def test_storages_and_events_never_meet() -> None:
    """Events are told by the engine, after the storage has answered."""
    for path in MODULES:
        if room_of(name_of(path)) == "storage":
            assert "events" not in inner_rooms(path), name_of(path)


@pytest.mark.parametrize("tool", sorted(DOORS))
def test_each_borrowed_tool_has_its_door(tool: str) -> None:
    """Replacing a tool means changing one place; and no door stands open that nobody uses."""
    users = [name_of(path) for path in MODULES if any(name.split(".")[0] == tool for name in imports_of(path))]
    assert [user for user in users if not user.startswith(tuple(DOORS[tool]))] == []
    assert [door for door in DOORS[tool] if not any(user.startswith(door) for user in users)] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    """Two modules that need each other are one module, or three."""
    names = {module_name(path): path for path in MODULES}
    graph = {name: {n for n in imports_of(path) if n in names} - {name} for name, path in names.items()}
    graph = {name: needs for name, needs in graph.items() if not names[name].name.startswith("__init__")}
    done: set[str] = set()
    for start in graph:
        walk(start, graph, [], done)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def walk(name: str, graph: dict[str, set[str]], trail: list[str], done: set[str]) -> None:
    assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
    if name in done or name not in graph:
        return
    for need in graph[name]:
        walk(need, graph, [*trail, name], done)
    done.add(name)


def test_only_the_clock_reads_the_wall_clock() -> None:
    """Whoever holds the clock holds the scheduler; the tools at the edges live in real time."""
    for path in MODULES:
        if room_of(name_of(path)) in {"clock", "cli"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                call = f"{node.value.id}.{node.attr}"
                assert call not in {"datetime.now", "datetime.utcnow", "datetime.today", "time.time"}, name_of(path)


def test_the_core_never_uses_wait_for() -> None:
    """Before 3.12 it swallows a cancellation that comes in the same turn as the result."""
    for path in MODULES:
        assert "wait_for(" not in path.read_text(), name_of(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_classes_and_functions_stay_short(path: Path) -> None:
    """A function is read at a glance, a class in a sitting."""
    for node in ast.walk(ast.parse(path.read_text())):
        length = (getattr(node, "end_lineno", 0) or 0) - getattr(node, "lineno", 0) + 1
        if isinstance(node, ast.ClassDef):
            assert length <= 310, f"{node.name}: {length} lines"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert length <= 45, f"{node.name}: {length} lines"


def test_the_layers_name_every_room() -> None:
    """A room without a floor would be checked against nothing."""
    rooms = {room_of(name_of(path)) for path in MODULES}
    named = set().union(*LAYERS)
    assert rooms <= named
    assert all(not lower & upper for lower, upper in pairwise(LAYERS))
