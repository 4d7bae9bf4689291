"""A mistake in the file is one sentence, with the file's name, the line, and what would be right."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import pytest

from triolet import ConfigError
from triolet.cli import main
from triolet.standalone import settings
from triolet.standalone.app import load_file

GOOD = '[[channels]]\nurl = "/a/<id>"\nfollow = "anyone"\n'
JWT = '[jwt]\nkeys = "env:TOKEN_KEY"\naudience = "*"\n'

MISTAKES = {
    # --- the file
    "log = \n": "line 1: this is no TOML: Invalid value",
    'a = """\n\n': "line 3: this is no TOML: ",
    "log = 1\nlog = 2\n": "line 2: this is no TOML: Cannot overwrite a value",
    "": "line 1: the file has no 'channels': write [[channels]], and below it url = … and follow = …",
    f'logg = "memory:"\n{GOOD}': "line 1: the file has no key 'logg', perhaps 'log'; known are callback, channels, ",
    f"log = 5\n{GOOD}": "line 1: log is a text, not 5",
    f'log = ""\n{GOOD}': "line 1: log is a text that is not empty, not an empty text",
    f'\nlog = "postgres://secret@x"\n{GOOD}': "line 2: log='postgres:…' names no log; use ",
    f'log = "env:NO_SUCH"\n{GOOD}': "line 1: the environment has no 'NO_SUCH', or an empty one",
    f'origins = "https://a.example"\n{GOOD}': "line 1: origins is a list, not a text",
    f'origins = ["a.example"]\n{GOOD}': "line 1: ",
    f'origins = [""]\n{GOOD}': 'line 1: origins is a list of texts, as ["https://shop.example"], and an empty text is',
    f"[callback]\nheaders = [1]\n{GOOD}": 'line 2: headers is a list of texts, as ["authorization"], and 1 is none',
    f'deflate = "yes"\n{GOOD}': "line 1: deflate is true or false, not a text",
    f'socket = "live"\n{GOOD}': "line 1: 'live' is no URL below this server: it begins with a slash",
    f'socket = "/a/<x>"\n{GOOD}': "line 3: '/a/<id>' means the same URLs as",
    f"[limits]\nconection = 5\n{GOOD}": "line 2: limits has no key 'conection', perhaps 'connections'; known are ",
    f"[limits]\n\nconnections = 0\n{GOOD}": "line 3: limits.connections must be a whole number from 1",
    f"[limits]\nfollows = 2\npage_bytes = 1_000_000_000\n{GOOD}": "line 3: limits.page_bytes can never be held",
    "channels = 5\n": "line 1: each of the channels has a header of its own, [[channels]]",
    f"{GOOD}[channels.x]\n": "line 4: [[channels]] has no key 'x'; known are channel, ",
    f'socket = "https://secret@x/live"\n{GOOD}': "line 1: 'https://…@x/live' is no URL below this server: it begins",
    f'[limits]\nstall_seconds = "secret"\n{GOOD}': "line 2: stall_seconds is a number, not a text",
    f"policy = [5]\n{GOOD}": 'line 1: a policy is "catch_up", or a table as { latest = { events = 100 } }, or several, '
    "not 5",
    # --- a channel
    '[[channels]]\nfollow = "anyone"\n': "line 1: [[channels]] has no 'url': write the URLs of these channels, as",
    '[[channels]]\nurl = "/a"\n': "line 1: [[channels]] has no 'follow': say who may: \"anyone\", ",
    f'{GOOD}folow = "anyone"\n': "line 4: [[channels]] has no key 'folow', perhaps 'follow'; known are ",
    '[[channels]]\nurl = "/triolet/x"\nfollow = "anyone"\n': "line 2: what is below /triolet is Triolet's own",
    '[[channels]]\nurl = "/<a>/<a>"\nfollow = "anyone"\n': "line 2: '/<a>/<a>' has values that cannot be told apart",
    '[[channels]]\nurl = "/<path:a>/<path:b>"\nfollow = "anyone"\n': "line 2: '/<path:a>/<path:b>' has values",
    '[[channels]]\nurl = "/<no:a>"\nfollow = "anyone"\n': "line 2: this is no rule of URLs: ",
    '[[channels]]\nurl = "/<a"\nfollow = "anyone"\n': "line 2: this is no rule of URLs: ",
    f"{GOOD}{GOOD}": "line 5: '/a/<id>' means the same URLs as '/a/<id>', which stands before it",
    f'{GOOD}channel = "a/{{di}}"\n': "line 4: {di} is no value of the URL, and these are: {id}",
    f'{GOOD}channel = "a/{{id"\n': "line 4: 'a/{id' has a brace that belongs to no value",
    f'{GOOD}channel = "triolet.x"\n': "line 4: channels that begin with 'triolet.' are Triolet's own",
    f'{GOOD}channel = "a*"\n': "line 4: 'a*' has a star",
    '[[channels]]\nurl = "/<a>/<b>"\nchannel = "{a}-{b}"\nfollow = "anyone"\n': (
        "line 3: '{a}-{b}' has two values without a slash between them"
    ),
    f"{GOOD}recheck = 0.5\n": "line 4: recheck is a number of at least 1, not 0.5",
    f'[callback]\nurl = "nonsense"\n{GOOD}': "line 2: a callback is a URL of http or https",
    f'[callback]\nheaders = ["x y"]\n{GOOD}': "line 2: 'x y' is no header's name",
    f"{GOOD}recheck = 1{'0' * 400}\n": "line 4: recheck is a number of at least 1, not 1000000",
    f'{GOOD}format = "html"\n': "line 4: format is 'plain' or 'triolet', not 'html'",
    f'{GOOD}presence = "/a/<x>/who"\n': "line 4: '/a/<x>/who' has not the same values as '/a/<id>'",
    f"{GOOD}keep = 10\n": "line 4: keep is a table, not 10",
    f"{GOOD}keep = {{ event = 10 }}\n": "line 4: keep has no key 'event', perhaps 'events'; known are bytes, events, ",
    f"{GOOD}keep = {{ events = 0 }}\n": "line 4: Keep.events must be a whole number from 1",
    f'{GOOD}keep = {{ events = 1 }}\n[[channels]]\nurl = "/b/<x>"\nchannel = "a/{{x}}"\nfollow = "anyone"\n'
    "keep = { events = 2 }\n": "line 9: 'a/*' is kept otherwise by an entry before this one",
    # --- policies
    f'{GOOD}policy = "lates"\n': 'line 4: a policy is "catch_up", or a table as { latest = { events = 100 } }',
    f"{GOOD}policy = {{ lates = {{ events = 1 }} }}\n": "line 4: policy has no key 'lates', perhaps 'latest'; known ",
    f"{GOOD}policy = {{ latest = {{ events = 0 }} }}\n": "line 4: latest(events=…) must be a number above 0, not 0",
    f"{GOOD}policy = {{ latest = 5 }}\n": "line 4: latest is a table, not 5",
    f"{GOOD}policy = {{ block = {{ events = 1 }} }}\n": "line 4: block has no 'seconds': write block = { events = …, ",
    f"{GOOD}policy = []\n": "line 4: a ladder needs rungs",
    # --- who may
    '[[channels]]\nurl = "/a"\nfollow = "anybody"\n': "line 3: 'anybody' says nobody who may, perhaps 'anyone'; known ",
    '[[channels]]\nurl = "/a"\nfollow = 5\n': "line 3: this says nobody who may; known are anyone, callback, token",
    '[[channels]]\nurl = "/a"\nfollow = "token"\n': "line 3: nobody can have a token: write [jwt], with the keys",
    '[[channels]]\nurl = "/a"\nfollow = { claim = "x" }\n': "line 3: nobody can have a token",
    '[[channels]]\nurl = "/a"\nfollow = "callback"\n': "line 3: which callback? write [callback] and its url, or ",
    '[[channels]]\nurl = "/a"\nfollow = { calback = "x" }\n': "line 3: follow has no key 'calback', perhaps 'callback'",
    '[[channels]]\nurl = "/a"\nfollow = { callback = "x" }\n': "line 3: a callback is a URL of http or https",
    '[[channels]]\nurl = "/a"\nfollow = { callback = "http://a:b@c" }\n': "line 3: a callback is a URL of http",
    '[[channels]]\nurl = "/a"\nfollow = { is = "x" }\n': 'line 3: this says nobody who may: "anyone", ',
    f"{JWT}{GOOD}publish = {{ claim = [] }}\n": "line 7: claim is a claim's name, or the list of names",
    f'{JWT}[[channels]]\nurl = "/<a>/<b>"\nchannel = "x/{{a}}"\nfollow = {{ claim = "b", is = "{{b}}" }}\n': (
        "line 7: {b} is no value of the channel's name, and these are: {a}"
    ),
    f'[callback]\nheaders = ["Host"]\n{GOOD}': "line 2: 'Host' is of the request itself, and is not passed on",
    # --- tokens
    f'[jwt]\naudience = "*"\n{GOOD}': "line 1: jwt has no 'keys': write \"env:NAME\" for a secret, ",
    f'[jwt]\nkeys = "a secret that stands in the file itself"\naudience = "*"\n{GOOD}': 'line 2: keys is "env:NAME"',
    f'[jwt]\nkeys = "env:TOKEN_KEY"\n{GOOD}': "line 1: jwt has no 'audience': say whom tokens are for, or \"*\"",
    f'[jwt]\nkeys = "file:/no/such.pem"\naudience = "*"\n{GOOD}': "line 2: JWT(keys=…): the file cannot be read: ",
    f'[jwt]\nkeys = "env:SHORT_KEY"\naudience = "*"\n{GOOD}': "line 2: JWT(keys=…): a secret for HS256 has at least 32",
    f"{JWT}leeway = 1000\n{GOOD}": "line 4: JWT(leeway=…) must be a number of seconds from 0 to 300",
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_KEY", "k" * 32)
    monkeypatch.setenv("SHORT_KEY", "k")


@pytest.mark.parametrize("text", MISTAKES, ids=[said[:60] for said in MISTAKES.values()])
def test_a_mistake_is_named_with_its_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "channels.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_file(str(file))
    said = str(raised.value)
    assert said.startswith(f"channels.toml, {MISTAKES[text]}")
    assert "\n" not in said
    assert "secret" not in said.replace("a secret for", "").replace("for a secret", "")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read '.*none.toml': No such file"):
        load_file(str(tmp_path / "none.toml"))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"log = '\xe9'")
    with pytest.raises(ConfigError, match=r"latin.toml is no text in UTF-8"):
        load_file(str(latin))
    deep = tmp_path / "deep.toml"
    deep.write_text(f"a = {'[' * 5_000}{']' * 5_000}")
    with pytest.raises(ConfigError, match=r"deep.toml(, line 1: this is no TOML| is nested too deep)"):
        load_file(str(deep))
    long = tmp_path / "long.toml"
    long.write_text(f"a = {'9' * 5_000}")
    with pytest.raises(ConfigError, match=r"long.toml has a number that cannot be read: "):
        load_file(str(long))


def test_a_mark_of_the_order_of_bytes_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "channels.toml"
    file.write_text(GOOD, encoding="utf-8-sig")  # as editors on Windows write it
    read = settings.read_settings(str(file))
    file.write_text(GOOD, encoding="utf-8")
    plain = settings.read_settings(str(file))
    assert (read.log, [one.url for one in read.channels]) == (plain.log, [one.url for one in plain.channels])
    load_file(str(file))


def test_the_command_says_it_in_one_line_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "channels.toml"
    file.write_text(f"{GOOD}chanel = 1\n")
    assert main(["serve", str(file)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("triolet: channels.toml, line 4: [[channels]] has no key 'chanel', perhaps 'channel'; known")


def test_a_callback_is_no_line_in_the_log(tmp_path: Path) -> None:
    file = tmp_path / "channels.toml"
    file.write_text(GOOD)
    httpx = logging.getLogger("httpx")
    level = httpx.level
    httpx.setLevel(logging.INFO)
    try:
        load_file(str(file))
        assert not httpx.isEnabledFor(logging.INFO)  # it tells each request, with all of its URL
    finally:
        httpx.setLevel(level)


ODD = [
    "5",
    "-1",
    "1.5",
    "nan",
    "inf",
    "true",
    '""',
    '"x"',
    "[]",
    "[1]",
    '["x"]',
    "[[]]",
    "{}",
    "{ x = 1 }",
    "1979-05-27",
]
KEYS = [
    *[(name, f"{name} = {{}}\n{GOOD}") for name in settings._FILE],
    *[(f"[jwt] {name}", f"[jwt]\n{name} = {{}}\n{GOOD}") for name in settings._JWT],
    *[(f"jwt and {name}", f"{JWT}{name} = {{}}\n{GOOD}") for name in settings._JWT if name not in ("audience", "keys")],
    *[(f"[callback] {name}", f"[callback]\n{name} = {{}}\n{GOOD}") for name in ("headers", "url")],
    *[(f"[limits] {name}", f"[limits]\n{name} = {{}}\n{GOOD}") for name in ("connections", "keep_seconds")],
    *[(name, f"{GOOD}{name} = {{}}\n") for name in settings._CHANNEL if name not in ("follow", "url")],
    ("url", '[[channels]]\nurl = {}\nfollow = "anyone"\n'),
    ("follow", '[[channels]]\nurl = "/x"\nfollow = {}\n'),
    ("claim", f"{JWT}{GOOD}publish = {{{{ claim = {{}} }}}}\n"),
    ("is", f'{JWT}{GOOD}publish = {{{{ claim = "a", is = {{}} }}}}\n'),
    ("callback", f"{GOOD}publish = {{{{ callback = {{}} }}}}\n"),
    ("latest", f"{GOOD}policy = {{{{ latest = {{}} }}}}\n"),
    ("events", f"{GOOD}policy = {{{{ latest = {{{{ events = {{}} }}}} }}}}\n"),
    ("keep", f"{GOOD}keep = {{{{ bytes = {{}} }}}}\n"),
]


@pytest.mark.parametrize(("key", "text"), KEYS, ids=[key for key, _ in KEYS])
def test_whatever_a_key_says_is_taken_or_named(key: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "channels.toml"
    for value in ODD:
        said = text.replace("{{", "\0").replace("}}", "\1").replace("{}", value).replace("\0", "{").replace("\1", "}")
        file.write_text(said, encoding="utf-8")
        complaint = "channels.toml, line 0: none"
        try:
            load_file(str(file))
        except ConfigError as error:
            complaint = str(error)
        assert re.fullmatch(r"channels\.toml, line \d+: [^\n]+", complaint), said


def test_what_a_file_needs_is_named_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "channels.toml"
    file.write_text(GOOD)
    monkeypatch.setitem(sys.modules, "triolet.standalone.app", None)
    assert main(["serve", str(file)]) == 1
    assert capsys.readouterr().err.endswith("pip install 'triolet[standalone]'\n")
