"""Does what was installed work? A server is run, and followed from Python over each transport, and from Node.

Run by ``scripts/dist``, with the interpreter of an environment that has ``triolet[client]`` and nothing else:
``python smoke.py triolet-client-0.1.0.tgz``. Where Node is not there, its part is left out with a word.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from triolet.client import Event, open_client

APP = """
from quart_trio import QuartTrio
from triolet import Triolet

app = QuartTrio(__name__)
live = Triolet(app, log="sqlite:///smoke.db")


@live.channel("/orders/<order_id>/events")
async def order_events(order_id: str) -> str:
    return f"orders/{order_id}"


@app.before_serving
async def begin() -> None:
    await live.publish("orders/A123", {"state": "paid"}, name="order-status")
"""

PAGE = """
import { connect } from "triolet-client";

const live = connect(process.argv[2]);
for await (const item of live.follow("/orders/A123/events", { after: "0" })) {
  if (item.type === "event") console.log(item.event, item.data.state);
  if (item.type === "live") break;
}
process.exit(0);
"""


async def follow(url: str) -> None:
    """Follow the server from Python, over each transport alone."""
    for transport in ("websocket", "sse", "long-poll", "poll"):
        async with (
            open_client(url, transports=[transport]) as live,
            live.follow("/orders/A123/events", after=0) as order,
        ):
            async for item in order:
                if isinstance(item, Event):
                    assert item.data == {"state": "paid"}, item
                    break
        print(f"smoke: {transport} from Python")


def follow_from_node(url: str, package: Path, folder: Path) -> None:
    """Follow it from Node, with the npm package."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        print("smoke: there is no Node here, so the npm package was not tried")
        return
    (folder / "package.json").write_text('{"name": "smoke", "private": true, "type": "module"}')
    install = [npm, "install", "--silent", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", str(package)]
    subprocess.run(install, cwd=folder, check=True, timeout=120)
    (folder / "page.js").write_text(PAGE)
    said = subprocess.run([node, "page.js", url], cwd=folder, check=True, timeout=60, capture_output=True, text=True)
    assert said.stdout == "order-status paid\n", said
    print("smoke: Node")


def main() -> None:
    """Serve, and follow."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "app.py").write_text(APP)
        serve = [shutil.which("triolet") or "triolet", "serve", "app:app", "--bind", "127.0.0.1:0"]
        with subprocess.Popen(serve, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
            try:
                assert server.stderr is not None
                said = next(
                    (found for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line))), None
                )
                assert said is not None, "the server did not say where it is"
                trio.run(follow, said[0])
                follow_from_node(said[0], Path(sys.argv[1]).resolve(), folder)
            finally:
                server.terminate()
        assert server.returncode == 0, server.returncode


if __name__ == "__main__":
    main()
