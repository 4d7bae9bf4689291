"""What can stand behind ``module:``, and what is said of all else: one sentence, that says what to write."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from quart_trio import QuartTrio

from triolet import ConfigError
from triolet.cli import load_app, main
from triolet.cli.app import AppError

MODULE = """
import types
from quart import Blueprint, Quart
from quart_trio import QuartTrio
from starlette.applications import Starlette
from triolet import Limits, Triolet

app = QuartTrio(__name__)
live = Triolet(app)
obj = types.SimpleNamespace(app=app, nothing=None, number=3)
plain, starlette, blueprint, number, nothing = Quart("p"), Starlette(), Blueprint("b", "b"), 3, None


def make_app(): return app
def make(name, debug=False): return app
async def make_async(): return app
def make_number(): return 3
def make_limits(): return Limits(header_bytes=-1)
def crash(): raise ValueError("a bug")
def stop(): raise BaseException("a bug")
def wsgi(environ, start_response): pass
async def asgi(scope, receive, send): pass


class Shop:
    def __init__(self): self.app = app

    @property
    def broken(self): raise ValueError("a bug in it")


shop = Shop()


class Middleware:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send): await self.app(scope, receive, send)


behind, plain_behind = Middleware(app), Middleware(plain)


class Fast(Starlette):
    pass


Fast.__module__, Fast.__qualname__ = "fastapi.applications", "FastAPI"
fast = Fast()
flask = type("Flask", (), {"__module__": "flask.app", "__call__": lambda self, environ, start_response: None})()
django = type("BaseHandler", (), {"__module__": "django.core.handlers.base"})()
"""

SERVES_ITSELF = """
import trio
from quart_trio import QuartTrio
from triolet import Triolet

app = QuartTrio(__name__)
Triolet(app)


async def serve():  # as app.run() does, which listens too
    sent = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        sent.append(message)

    await app({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)
    if sent[-1]["type"] == "lifespan.startup.failed":
        raise RuntimeError(sent[-1]["message"])


trio.run(serve)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder with modules in it; the interpreter's paths and modules are put back afterwards."""
    path = tmp_path_factory.mktemp("apps")
    (path / "kinds.py").write_text(MODULE)
    (path / "redis_feed.py").write_text("import redis_that_is_missing\n")
    (path / "broken.py").write_text("x = (\n")
    (path / "deep.py").write_text("import json\nx = json.loads('{')\n")
    (path / "stopped.py").write_text("from asyncio import CancelledError\nraise CancelledError('no loop')\n")
    (path / "random.py").write_text("from quart_trio import QuartTrio\napp = QuartTrio('mine')\n")
    (path / "exits.py").write_text("import sys\ndef stop(code): sys.exit(code)\n")
    (path / "exits_early.py").write_text("import sys\nsys.exit()\n")
    (path / "serves.py").write_text(SERVES_ITSELF)
    (path / "outer.py").write_text("import deep\n")
    (path / "pack").mkdir()
    (path / "pack" / "__init__.py").touch()
    (path / "pack" / "web.py").write_text("from quart_trio import QuartTrio\napp = QuartTrio('web')\n")
    (path / "pack" / "half.py").write_text("from . import nothing_here\n")
    paths, modules = sys.path[:], set(sys.modules)
    yield str(path)
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "written",
    [
        "kinds",
        "kinds:app",
        "kinds:obj.app",
        "kinds:make_app()",
        'kinds:make("x")',
        "kinds:make(3, debug=True)",
        "kinds:make(name=None)",
        "kinds:Shop().app",
        "pack.web:app",
    ],
)
def test_an_app_is_named_by_what_leads_to_it(folder: str, written: str) -> None:
    assert isinstance(load_app(written, folder), QuartTrio)


@pytest.mark.parametrize("written", ["kinds:behind", "kinds:asgi"])
def test_any_asgi_app_is_served(folder: str, written: str) -> None:
    assert callable(load_app(written, folder))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("kinds:make_app", r"write kinds:make_app\(\)"),
        ("kinds:make", r"write kinds:make\(…\)"),
        ("kinds:make_async", "make it a plain def"),
        ("kinds:make_async()", "make it a plain def"),
        ("kinds:make_number()", "an int and no app: write"),
        ("kinds:make_limits()", r"header_bytes.*kinds\.py:\d+"),
        ("kinds:make()", "missing a required argument: 'name'"),
        ("kinds:make(app)", "no literal"),
        ("kinds:make(*[1])", "no literal"),
        ("kinds:make(**{})", "no literal"),
        ("kinds:number()", "write it without"),
        ("kinds:number", "an int and no app: write"),
        ("kinds:nothing", "None there"),
        ("kinds:obj", "SimpleNamespace and no app"),
        ("kinds:obj.number", "an int and no app"),
        ("kinds:obj.nothing", "None there"),
        ("kinds:obj.other", "no 'other': is it kinds:app"),
        ("kinds:other", "no 'other': is it kinds:app"),
        ("kinds:types", "a module: write types:app"),
        ("kinds:Shop", r"a class: write kinds:Shop\(\)"),
        ("kinds:live", "the Triolet and not the app"),
        ("kinds:plain", "make it a QuartTrio"),
        ("kinds:plain_behind", "make it a QuartTrio"),
        ("kinds:starlette", "Starlette, which Triolet does not serve: write"),
        ("kinds:fast", "FastAPI, which Triolet does not serve: write"),
        ("kinds:flask", "WSGI only: make it a QuartTrio"),
        ("kinds:django", "Django, which Triolet does not serve: write"),
        ("kinds:blueprint", "register it at a QuartTrio"),
        ("kinds:wsgi", "WSGI.*write the app as a QuartTrio"),
        ("kinds:1 + 1", "write module:app"),
        ("kinds:'app'", "write module:app"),
        ("kinds:a b", "write module:app"),
        ("kinds:app[0]", "write module:app"),
        ("kinds.py", "named without .py"),
        ("pack/web:app", "named without .py and slashes, pack.web:app"),
        ("pack.other:app", "no module 'pack.other'"),
        ("pack:app", "has no 'app': write"),
        (".kinds:app", "no module's name: write"),
        ("./kinds.py:app", "named without .py and slashes, kinds:app$"),
        ("Kinds:app", "it is written kinds:app; or is it --app-dir"),
        ("random:app", r"random.py\) has no 'app'"),
        ("exits:stop(0)", r"ended the process with 0 while it was loaded \(exits.py:2\)"),
        ("exits:stop(None)", r"ended the process with 0 while it was loaded \(exits.py:2\)"),
        ("exits:stop(3)", r"ended the process with 3 while it was loaded \(exits.py:2\)"),
        ("exits_early", r"ended the process with 0 while it was loaded \(exits_early.py:2\)"),
        ("serves", r"serves itself while it is loaded: put app.run\(\) below .* \(serves.py:\d+\)"),
        ("nowhere", "no module 'nowhere'"),
        ("absent:app", "no module 'absent'"),
    ],
)
def test_what_cannot_be_served_is_a_sentence_that_says_what_to_write(
    folder: str, written: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=says):
        load_app(written, folder)
    assert main(["serve", written, "--app-dir", folder]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_app_that_says_why_it_ends_the_process_is_heard(folder: str) -> None:
    with pytest.raises(SystemExit, match="no settings"):
        main(["serve", 'exits:stop("no settings")', "--app-dir", folder])


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="--app-dir '/no/such' is no folder"):
        load_app("kinds:app", "/no/such")


@pytest.mark.parametrize(
    ("written", "line", "message"),
    [
        ("redis_feed:app", "import redis_that_is_missing", "No module named 'redis_that_is_missing'"),
        ("broken:app", "x = (", "SyntaxError"),
        ("deep:app", "x = json.loads('{')", "JSONDecodeError"),
        ("outer:app", "x = json.loads('{')", "JSONDecodeError"),
        ("pack.half:app", "from . import nothing_here", "ImportError"),
        ("kinds:crash()", 'raise ValueError("a bug")', "ValueError: a bug"),
        ("stopped:app", "raise CancelledError('no loop')", "CancelledError: no loop"),
        ("kinds:shop.broken", 'raise ValueError("a bug in it")', "ValueError: a bug in it"),
        ("kinds:stop()", 'raise BaseException("a bug")', "BaseException: a bug"),
    ],
)
def test_an_error_in_the_app_is_its_own_traceback_once(
    folder: str, written: str, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AppError):
        load_app(written, folder)
    assert main(["serve", written, "--app-dir", folder]) == 1
    told = capsys.readouterr().err
    lines = told.splitlines()
    assert message in lines[-1]
    assert any(line in found for found in lines[-4:]), "it ends in the app's own line"
    assert told.count("Traceback") <= 1
    assert "importlib" not in told
    assert "triolet/cli" not in told
