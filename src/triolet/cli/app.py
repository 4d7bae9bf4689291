"""From ``module:name`` to an app: where it is found, and whether it is one that can be served."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any, Final

from ..app.lifespan import LOADING, SERVES_ITSELF
from ..bounds import MIDDLEWARE_LAYERS
from ..errors import ConfigError, TrioletError, is_own, own_place
from ..workers.signals import EndedEarly
from .layers import class_names

__all__ = ["AppError", "check_app", "load_app"]

HERE: Final = os.path.dirname(__file__) + os.sep
WRITE: Final = "write module:app, module:make() or module:object.app"

_FOREIGN: Final = {
    "quart.app.Quart": "a Quart on asyncio: make it a QuartTrio (from quart_trio import QuartTrio)",
    "fastapi.applications.FastAPI": "a FastAPI, which Triolet does not serve: write the app as a QuartTrio",
    "starlette.applications.Starlette": "a Starlette, which Triolet does not serve: write the app as a QuartTrio",
    "flask.app.Flask": "a Flask, which knows WSGI only: make it a QuartTrio (from quart_trio import QuartTrio)",
    "flask.sansio.app.App": "a Flask, which knows WSGI only: make it a QuartTrio (from quart_trio import QuartTrio)",
    "django.core.handlers.base.BaseHandler": "a Django, which Triolet does not serve: write the app as a QuartTrio",
    "litestar.app.Litestar": "a Litestar, which Triolet does not serve: write the app as a QuartTrio",
    "sanic.app.Sanic": "a Sanic, which Triolet does not serve: write the app as a QuartTrio",
    "aiohttp.web_app.Application": "an aiohttp app, which Triolet does not serve: write the app as a QuartTrio",
    "quart.blueprints.Blueprint": "a blueprint: register it at a QuartTrio, and name that",
    "flask.blueprints.Blueprint": "a blueprint: register it at a QuartTrio, and name that",
    "triolet.app.extension.Triolet": "the Triolet and not the app that it serves: name the QuartTrio it was made with",
}
"""What a class is called that can be told by its name, and what to do about it."""
_OURS: Final = "quart_trio.app.QuartTrio"
_PASSING: Final = (EndedEarly, KeyboardInterrupt)
"""What is raised while an app is imported and is no error of it. All else is, if it is no Exception either."""


class AppError(Exception):
    """The app's own module failed. ``traceback`` is what the app's author needs: from the app's first line on."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        told = traceback.TracebackException(type(error), error, _from_the_app_on(error.__traceback__))
        own = [number for number, frame in enumerate(told.stack) if is_own(frame.filename)]
        if own:
            del told.stack[own[-1] + 1 :]  # what a library did below the app's line is in the message
        self.traceback = "".join(told.format())


def load_app(text: str, folder: str = ".") -> Any:
    """Import an app: ``module:name``, ``module:object.name``, or ``module:make("literal", key=1)``, a call.

    Raises:
        ConfigError: there is none, or it cannot be served; the message says what to write.
        AppError: the app's own code raised.
    """
    module_name, _, written = text.partition(":")
    if not module_name:
        raise ConfigError(f"{text!r} names no app: write module:app")
    if not os.path.isdir(folder):
        raise ConfigError(f"--app-dir {folder!r} is no folder")
    folder = os.path.abspath(folder)
    sys.path.insert(0, folder)
    found = _look_up(_import(module_name, folder), module_name, written or "app")
    check_app(found, f"{module_name}:{written or 'app'}")
    return found


@contextmanager
def _the_apps_code() -> Iterator[None]:
    """A time in which code of the app's runs, and what is said of how it fails."""
    served: list[str] = []
    token = LOADING.set(served)
    try:
        yield
    except TrioletError as error:
        raise _placed(error) from None
    except SystemExit as error:
        if isinstance(error.code, str):  # it has said why, and the interpreter prints it
            raise
        said = f"the app has ended the process with {error.code or 0} while it was loaded{_at(error)}"
        raise ConfigError(said) from None
    except _PASSING:
        raise
    except BaseException as error:
        if served:
            raise ConfigError(f"{SERVES_ITSELF}{_at(error)}") from None
        raise AppError(error) from None
    finally:
        LOADING.reset(token)


def _import(name: str, folder: str) -> ModuleType:
    if name.startswith(".") or ".." in name:
        raise ConfigError(f"{name!r} is no module's name: {_without_slashes(name) or WRITE}")
    with _the_apps_code():
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if _from_the_app_on(error.__traceback__) is not None:
                raise
        advice = _without_slashes(name) or _alike(name, folder)
        perhaps = f"{advice}; or is it " if advice else ""
        raise ConfigError(f"there is no module {name!r} in {folder}: {perhaps}--app-dir?")


def _without_slashes(name: str) -> str:
    module = name.removesuffix(".py").replace("/", ".").strip(".")
    return f"a module is named without .py and slashes, {module}:app" if module not in (name, name.strip(".")) else ""


def _alike(name: str, folder: str) -> str:
    """A module that is there, and is written in capitals or small letters otherwise."""
    there = {entry.removesuffix(".py") for entry in os.listdir(folder)}
    alike = sorted(module for module in there if module.lower() == name.lower() and module.isidentifier())
    return f"it is written {alike[0]}:app" if alike else ""


def _look_up(module: ModuleType, name: str, written: str) -> Any:
    """What the part behind the colon stands for: a name, its attributes, a call of it with literals."""
    try:
        node = ast.parse(written.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise ConfigError(f"{written!r} names no app in {name!r}: {WRITE}") from None
    return _value(node, module, name)


def _value(node: ast.expr, module: ModuleType, name: str) -> Any:
    if isinstance(node, ast.Name):
        return _attribute(module, node.id, f"module {name!r}", module)
    if isinstance(node, ast.Attribute):
        return _attribute(_value(node.value, module, name), node.attr, f"{name}:{ast.unparse(node.value)}", module)
    if isinstance(node, ast.Call):
        return _called(node, _value(node.func, module, name), name)
    raise ConfigError(f"{ast.unparse(node)!r} names no app in {name!r}: {WRITE}")


def _attribute(value: Any, attribute: str, of: str, module: ModuleType) -> Any:
    with _the_apps_code():  # a property's, or the module's __getattr__
        found = getattr(value, attribute, None)
        none = found is None and hasattr(value, attribute)
    if found is None:
        there = sorted(name for name, value in vars(module).items() if _OURS in class_names(value))
        hint = f": is it {module.__name__}:{there[0]}?" if there else f": {WRITE}"
        raise ConfigError(f"{of}{_not_own(value)} has no {attribute!r}{', but None there' if none else ''}{hint}")
    return found


def _not_own(value: Any) -> str:
    """Where a module stands that is another than the app's author may have meant, who has one of that name, too."""
    file = getattr(value, "__file__", None) if inspect.ismodule(value) else None
    return f" ({file})" if file is not None and not is_own(file) else ""


def _called(node: ast.Call, make: Callable[..., Any], name: str) -> Any:
    written = f"{name}:{ast.unparse(node)}"
    try:
        given = [ast.literal_eval(argument) for argument in node.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
        if len(named) < len(node.keywords):
            raise ValueError("**")
    except (ValueError, TypeError, SyntaxError):
        raise ConfigError(f"{written} is called with what is no literal: give numbers, strings, True or None") from None
    if not callable(make):
        raise ConfigError(f"{written} calls what is no function, {_kind(make)}: write it without ()")
    try:
        inspect.signature(make).bind(*given, **named)
    except TypeError as error:
        raise ConfigError(f"{written} cannot be called so: {error}") from None
    except ValueError:
        pass  # a callable that does not say what it takes
    with _the_apps_code():
        return make(*given, **named)


def check_app(app: Any, written: str) -> None:
    """Say what is wrong with what was found, if it is not an app that can be served.

    Served are a QuartTrio, alone or behind ASGI middleware, and any ASGI app that runs on Trio.

    Raises:
        ConfigError: it is not; the message says what to write.
    """
    if (why := _wrong(app, written)) is not None:
        if inspect.iscoroutine(app):
            app.close()
        raise ConfigError(f"{written} is {why}")


def _wrong(app: Any, written: str) -> str | None:
    names = class_names(app)
    if _OURS in names:
        return None
    if (foreign := _foreign(app)) is not None:
        return foreign
    if inspect.iscoroutine(app) or inspect.isawaitable(app) or inspect.isasyncgen(app):
        return (
            "the result of an async function, and a factory is not awaited: "
            "make it a plain def, and open what must be awaited in @app.before_serving"
        )
    if inspect.ismodule(app):
        return f"a module: write {app.__name__}:app"
    if inspect.isclass(app):
        return f"a class: write {written}(), if that makes the app"
    if not callable(app):
        return f"{_kind(app)} and no app: {WRITE}"
    return _wrong_call(app, written)


def _wrong_call(app: Any, written: str) -> str | None:
    """Whether it takes what ASGI calls an app with: a scope, receive and send."""
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return None
    function = inspect.isroutine(app)
    parameters = signature.parameters.values()
    needed = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    starred = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    try:
        signature.bind(None, None, None)
    except TypeError:
        bindable = False
    else:
        bindable = True
    if bindable and (not function or len(needed) == 3 or (starred and inspect.iscoroutinefunction(app))):
        return None
    if [parameter.name for parameter in needed][:2] == ["environ", "start_response"]:
        return "a WSGI app, and Triolet serves ASGI: write the app as a QuartTrio"
    if function and inspect.iscoroutinefunction(app):
        return f"an async function and no app: if it makes one, make it a plain def and write {written}()"
    if function:
        return f"a function and no app: write {written}({'…' if needed else ''}), if it makes one"
    return f"{_kind(app)} and no ASGI app, which takes a scope, receive and send: {WRITE}"


def _foreign(app: Any) -> str | None:
    """What is known of its class, or of that of the app that it stands before as middleware does."""
    for _ in range(MIDDLEWARE_LAYERS):
        names = class_names(app)
        if _OURS in names or inspect.ismodule(app) or inspect.isclass(app):
            return None
        if (known := next((_FOREIGN[name] for name in names if name in _FOREIGN), None)) is not None:
            return known
        app = getattr(app, "__dict__", {}).get("app")
        if app is None:
            return None
    return None


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _placed(error: TrioletError) -> ConfigError:
    """The same as a sentence with its place in the app."""
    return ConfigError(f"{error}{_at(error)}")


def _at(error: BaseException) -> str:
    place = own_place(error)
    return f" ({place})" if place else ""


def _from_the_app_on(found: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames that led into the app, ours and the import system's; None if it has no other."""
    while found is not None and _leads_in(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return found


def _leads_in(file: str) -> bool:
    return file.startswith((HERE, "<frozen importlib")) or file == importlib.__file__
