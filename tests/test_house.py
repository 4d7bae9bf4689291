"""The house rules that a machine can hold: storeys, public names, docstrings, sizes, no real time."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import trio

from triolet.log.contract import EventLog

from .conftest import RealWaits
from .house import MODULES, PACKAGE, ROOT, imports, tree, unit

STOREYS = {
    "bounds": 1,
    "closing": 1,
    "errors": 1,
    "value": 1,
    "event": 1,
    "pattern": 1,
    "limits": 1,
    "clock": 1,
    "budget": 1,
    "counters": 1,
    "sync": 2,
    "wire": 2,
    "log": 3,
    "sockets": 3,
    "sqlite": 4,
    "redis": 4,
    "presence": 4,
    "identity": 4,
    "client": 4,
    "hub": 5,
    "http": 5,
    "probe": 5,
    "plan": 5,
    "connection": 6,
    "server": 6,
    "runs": 6,
    "transports": 7,
    "monitoring": 7,
    "admin": 7,
    "app": 8,
    "workers": 8,
    "standalone": 9,
    "triolet": 10,  # __init__.py, the face
    "cli": 10,
    "testing": 10,
    "__main__": 11,
}
LOGS = {"log", "sqlite", "redis", "testing"}
"""Where logs are made, and where they are tried."""
PURE = {"trio", "time", "random", "secrets", "datetime", "socket", "os", "threading"}
"""What wire/ never imports: it is sans-IO."""

REAL_TIME = {"asyncio", "multiprocessing", "sched", "subprocess", "threading", "time"}
REAL_CONNECTIONS = {"http", "httpx", "requests", "select", "selectors", "socketserver", "urllib3", "websockets"}
REAL = REAL_TIME | REAL_CONNECTIONS
"""What only tests/e2e imports: real time, real connections, and processes and threads that no virtual clock moves."""

REAL_CALLS = {
    "hypercorn.trio.serve",
    "socket.create_connection",
    "socket.create_server",
    "socket.socket",
    "trio.open_tcp_listeners",
    "trio.open_tcp_stream",
    "trio.run_process",
    "trio.serve_tcp",
    "trio.socket.socket",
}
"""What only tests/e2e calls."""

LIBRARIES = {
    "anyio": {"redis"},
    "apsw": {"sqlite", "testing"},
    "coredis": {"redis"},
    "cryptography": {"identity"},
    "h11": {"client", "http", "testing"},
    "h2": {"http"},
    "hypercorn": {"http"},
    "httpcore": {"client"},
    "httpx": {"client", "identity"},
    "idna": {"transports"},
    "jwt": {"identity"},
    "prometheus_client": {"monitoring"},
    "quart": {"app", "standalone", "testing"},
    "quart_trio": {"app", "standalone", "testing"},
    "trio_websocket": {"client"},
    "websockets": {"client"},
    "werkzeug": {"app", "standalone"},
    "wsproto": {"client", "testing", "wire"},
}
"""The one room that knows each library of others, and what else may: the kit, which must not share our mistakes."""

EVERYWHERE = {"msgspec", "trio"}
"""The libraries that the whole house stands on."""

ROOT_FILES = {
    "__init__",
    "__main__",
    "bounds",
    "budget",
    "clock",
    "closing",
    "counters",
    "errors",
    "event",
    "limits",
    "pattern",
    "value",
}
"""The files that may stand in no room: the face, the command, and the words that all rooms use."""
MAX_ROOT = 12

MIN_ROOM = 3
MAX_FILE = 500
MAX_EXAMPLE = 150
LARGER = {
    "dashboard": 196,  # with crowd.py, which is no part of it: it brings the viewers
    "shop": 230,  # an order from its first event to its last, and where each step of it may break off
    "standalone": 172,  # two apps, in Django and in FastAPI, of which one is to be taken
}
"""Lines of Python that an example has at most, all its modules together but its tests; and those that have more."""
MAX_FUNCTION = 60
MAX_METHODS = 20
MAX_ATTRIBUTES = 14
WIDE = {
    "triolet.counters.Metrics",  # a table: each attribute is a number that is counted
    "triolet.http.http2.GuardedH2",  # its methods are Hypercorn's, each with what it does instead
    "triolet.redis.partition.Partition",  # a connection and what is heard on it, which are lost together
}
"""Classes that are wider, and why."""


NAMESAKES = {"Answer", "Client", "Connection", "Line", "Live", "Message", "serve"}
"""Public names (all but the connection are the kit's) that another room has for something of its own."""


TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if "e2e" not in path.parts]
SOURCES = sorted(
    path
    for folder in ("src", "tests", "examples", "benchmarks", "docs")
    for pattern in ("*.py", "*.js", "*.mjs", "*.c")
    for path in (ROOT / folder).rglob(pattern)
    if not {"node_modules", "vendor", "_build"} & set(path.parts)
)


@cache
def _imports_of(module: str) -> set[str]:
    """The modules of ours that one of ours imports."""
    found = set()
    for target in imports(MODULES[module], _package(module)):
        while target and target not in MODULES:
            target = target.rpartition(".")[0]
        if target and target != module:
            found.add(target)
    return found


def _package(module: str) -> str:
    """What its relative imports are relative to."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


FACES = [
    name for name in MODULES if name in ("triolet", "triolet.client", "triolet.testing") or STOREYS.get(unit(name)) == 1
]
"""The modules that users import from: here every public method has a docstring too."""


def _place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_a_module_imports_only_from_lower_storeys_or_its_own_folder() -> None:
    assert set(map(unit, MODULES)) == set(STOREYS), "give it a storey in the design and here, or take it out of both"
    imported = [(module, target) for module in MODULES for target in _imports_of(module)]
    assert not [
        f"{module} imports {target}"
        for module, target in imported
        if unit(target) != unit(module) and not _below(unit(target), unit(module))
    ]


def _below(other: str, room: str) -> bool:
    """Whether a file or folder is on a lower storey; on the first, whose files may meet, further up in the table."""
    if STOREYS[other] == STOREYS[room] == 1:
        names = list(STOREYS)
        return names.index(other) < names.index(room)
    return STOREYS[other] < STOREYS[room]


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: _imports_of(module) for module in MODULES}
    while leaves := [module for module, targets in graph.items() if not targets & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"a circle of imports, or what leads into one: {sorted(graph)}"


def test_a_library_is_known_in_its_own_room_only() -> None:
    named = {
        (module, name.partition(".")[0]) for module in MODULES for name in imports(MODULES[module], _package(module))
    }
    known = sys.stdlib_module_names | EVERYWHERE | {"triolet"}
    imported = sorted((module, library) for module, library in named if library not in known)
    assert not {library for _, library in imported} - set(LIBRARIES), "it has no room: say in the table which"
    assert not [f"{module} imports {library}" for module, library in imported if unit(module) not in LIBRARIES[library]]


def test_the_root_holds_the_face_the_command_and_the_words() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} <= ROOT_FILES
    assert len(ROOT_FILES) <= MAX_ROOT


def test_a_room_has_at_least_three_files_and_no_room_inside() -> None:
    rooms = {path.parent for path in MODULES.values()} - {PACKAGE}
    assert not [_place(room) for room in rooms if room.parent != PACKAGE]
    assert not [room.name for room in rooms if len(list(room.glob("[!_]*.py"))) < MIN_ROOM]


def test_a_log_is_asked_through_its_door_only() -> None:
    """A log of a user's own may raise and return anything: see log/checked.py, and log/steps.py."""
    asked = [
        (module, ast.unparse(node.func))
        for module, path in MODULES.items()
        if unit(module) not in LOGS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in vars(EventLog)
    ]
    calls = [(module, *call.rpartition(".")) for module, call in asked]
    # That it cannot be opened ends the start, with its own error.
    assert not [
        f"{module}: {log}.{method}" for module, log, _, method in calls if log.endswith("log") and method != "open"
    ]


def test_the_wire_needs_no_clock_no_loop_and_no_chance() -> None:
    wire = [path for name, path in MODULES.items() if unit(name) == "wire"]
    assert wire
    assert not {name.partition(".")[0] for path in wire for name in imports(path)} & PURE


def test_all_names_what_exists_and_what_is_documented() -> None:
    for name in MODULES:
        if not name.endswith("__main__"):
            module = importlib.import_module(name)
            public = getattr(module, "__all__", [])
            assert len(public) == len(set(public)), name
            assert not [what for what in public if not hasattr(module, what)], name
            if MODULES[name].read_text(encoding="utf-8").strip():
                assert module.__doc__, f"{name}: a module says what it is for"
            assert not [what for what in public if not _documented(getattr(module, what))], name


def test_every_method_of_what_a_user_types_is_documented() -> None:
    classes = {
        getattr(module, name)
        for module in map(importlib.import_module, FACES)
        for name in getattr(module, "__all__", [])
        if inspect.isclass(getattr(module, name)) and _ours(getattr(module, name))
    }
    assert not [f"{cls.__name__}.{name}" for cls in classes for name in _bare_members(cls)]


def _ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] == "triolet"


def _documented(thing: object) -> bool:
    """Whether a class or function of ours has a docstring; constants say what they are where they stand."""
    if inspect.isclass(thing) and _ours(thing):
        return bool(_class_docstring(thing))
    return not inspect.isroutine(thing) or not _ours(thing) or bool(inspect.getdoc(thing))


def _class_docstring(cls: type) -> str:
    """The one that was written: dataclass and NamedTuple make one up."""
    made_up = f"{cls.__name__}("
    doc = cls.__dict__.get("__doc__") or ""
    return "" if doc.startswith(made_up) else doc


def _bare_members(cls: type) -> Iterator[str]:
    for name, member in vars(cls).items():
        callable_ = inspect.isroutine(member) or isinstance(member, (property, classmethod, staticmethod))
        if not name.startswith("_") and callable_ and not inspect.getdoc(getattr(cls, name)):
            yield name


def test_no_file_is_longer_than_500_lines() -> None:
    long = [path for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > MAX_FILE]
    assert not [_place(path) for path in long]


def test_no_example_has_more_than_150_lines_of_python() -> None:
    lines = {folder.name: _lines_of(folder) for folder in (ROOT / "examples").iterdir() if folder.is_dir()}
    assert {name: count for name, count in lines.items() if count > MAX_EXAMPLE} == LARGER


def _lines_of(example: Path) -> int:
    modules = [path for path in example.glob("*.py") if not path.name.startswith("test_")]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in modules)


def test_no_function_is_longer_than_60_lines() -> None:
    found = [(path, *function) for path in SOURCES if path.suffix == ".py" for function in _functions(path)]
    assert not [f"{_place(path)}: {node.name}, {lines}" for path, node, lines in found if lines > MAX_FUNCTION]


def _functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Every function and the number of its lines, docstring not counted: that may be as long as it must."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            told = ast.get_docstring(node, clean=False) is not None and first.end_lineno is not None
            docstring = (first.end_lineno or 0) - first.lineno + 1 if told else 0
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def test_no_class_has_more_than_20_methods_or_14_attributes() -> None:
    """Of its own: what it inherits is counted where it is written.

    The fields of a frozen dataclass are not counted: it is a value, such as all limits or all counts, and one that is
    wide has a reader for each field and nobody who has to keep them in step.
    """
    classes = [(module, node) for module, path in MODULES.items() for node in ast.walk(tree(path))]
    wide = {f"{module}.{node.name}" for module, node in classes if isinstance(node, ast.ClassDef) and _is_wide(node)}
    assert wide - WIDE == set(), "too wide: cut it by what changes together"
    assert WIDE - wide == set(), "these are cut, and can leave the list"


def _is_wide(cls: ast.ClassDef) -> bool:
    methods = {node.name for node in cls.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return len(methods) > MAX_METHODS or len(_attributes(cls)) > MAX_ATTRIBUTES


def _attributes(cls: ast.ClassDef) -> set[str]:
    """What an instance has of its own: slots, what is assigned to ``self``, and a dataclass's fields unless frozen."""
    found = {
        node.attr
        for node in ast.walk(cls)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    decorators = " ".join(map(ast.unparse, cls.decorator_list))
    for node in cls.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            found.update(ast.literal_eval(node.value))
        elif isinstance(node, ast.AnnAssign) and "dataclass" in decorators and "frozen=True" not in decorators:
            found.add(ast.unparse(node.target))
    return found


def test_only_end_to_end_tests_meet_the_real_world() -> None:
    for path in TESTS:
        assert not {name.partition(".")[0] for name in imports(path)} & REAL, _place(path)
        assert not {ast.unparse(call.func) for call in _calls(path)} & REAL_CALLS, _place(path)
        if path.name.startswith("test_") and any(_waits(call) for call in _calls(path)):
            assert "clock" in path.read_text(encoding="utf-8").lower(), f"{_place(path)} sleeps without a virtual clock"


def test_nothing_is_raised_within_except_star() -> None:
    # Python before 3.11.4 puts it into a group, and whoever waits for the error itself does not get it.
    handlers = [handler for path in MODULES.values() for handler in _of_groups(path)]
    assert not [
        ast.unparse(node) for one in handlers for node in ast.walk(one) if isinstance(node, ast.Raise) and node.exc
    ]


def _of_groups(path: Path) -> Iterator[ast.ExceptHandler]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.TryStar):
            yield from node.handlers


def test_no_virtual_clock_is_told_to_go_by_itself() -> None:
    """Nor is idleness waited for in real seconds. What a glance at the source cannot see, tests/conftest.py does."""
    calls = [(path, call) for path in TESTS if path.name != "conftest.py" for call in _calls(path)]
    assert not [f"{_place(path)}: {ast.unparse(call)}" for path, call in calls if _goes_by_itself(call)]


@cache
def _calls(path: Path) -> list[ast.Call]:
    """Every call in a file."""
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]


def _goes_by_itself(call: ast.Call) -> bool:
    function = ast.unparse(call.func).rpartition(".")[2]
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if function == "MockClock":
        return bool(call.args) or given not in ({}, {"autojump_threshold": "0"})
    return function == "wait_all_tasks_blocked" and bool(call.args or call.keywords)


async def test_a_test_that_waits_for_the_systems_clock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RealWaits, "count", 0)
        await trio.sleep(0.001)
        assert RealWaits.count == 1


async def test_a_test_that_waits_for_a_thread_is_not() -> None:
    before = RealWaits.count
    with trio.fail_after(60):
        await trio.to_thread.run_sync(sum, range(100_000))
    assert RealWaits.count == before


def _waits(call: ast.Call) -> bool:
    """Whether this is ``trio.sleep`` of more than nothing (``trio.sleep(0)`` is a checkpoint)."""
    zero = len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and not call.args[0].value
    return ast.unparse(call.func) == "trio.sleep" and not zero


def test_the_storeys_are_the_same_in_the_papers() -> None:
    """CONTRIBUTING.md and the head of the package tell a reader what the table above tells the machine."""
    rooms = {name: storey for name, storey in STOREYS.items() if name not in ("triolet", "__main__")}
    for paper in (ROOT / "CONTRIBUTING.md", PACKAGE / "__init__.py"):
        told: dict[str, int] = {}
        for line in paper.read_text(encoding="utf-8").splitlines():
            row = re.fullmatch(r"#?  +([a-z].*[a-z/])  +([1-9][0-9]?)", line)
            if row is not None:
                names = re.findall(r"[a-z]+", row[1].replace("the face", ""))
                told |= dict.fromkeys(names, int(row[2]))
        assert told == rooms, paper.name


def test_a_public_name_has_one_home() -> None:
    """What the two faces offer is defined in one place, and no name of one is another thing in the other."""
    faces = [importlib.import_module(name) for name in ("triolet", "triolet.testing")]
    homes: dict[str, object] = {}
    for face in faces:
        for name in face.__all__:
            assert homes.setdefault(name, getattr(face, name)) is getattr(face, name), name
    defined = [
        (name, module)
        for name in homes
        for module, path in MODULES.items()
        for node in tree(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    twice = {name for name, _ in defined if sum(other == name for other, _ in defined) > 1}
    assert not twice - NAMESAKES, sorted((name, module) for name, module in defined if name in twice)
