"""An app whose visitors log in and out: by a session's cookie, and by tokens that are good for 6 seconds.

Served as ``triolet serve identity_page.identity_app:app`` with the folder above on the path, so it imports nothing from
the tests.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer
from quart import Response, abort, session
from quart_trio import QuartTrio

from triolet import BadToken, Identity, Triolet

TOKEN_SECONDS = 6

app = QuartTrio("identity_page")
app.secret_key = secrets.token_hex()
live = Triolet(app)
signer = URLSafeSerializer(secrets.token_hex())
blocked: set[str] = set()
"""Users who get tokens, of which none is taken any longer."""


@live.identify
async def who(token: str | None) -> Identity:
    if token is not None:
        return bearer(token)
    return Identity(session["user"], session=session["login"]) if "user" in session else abort(401)


def bearer(token: str) -> Identity:
    try:
        claims = signer.loads(token)
    except BadSignature:
        raise BadToken("signature") from None
    if claims["user"] in blocked:
        abort(401)
    return Identity(claims["user"], expires_at=claims["until"])


@live.channel("/orders/events")
async def orders() -> str:
    return "orders"


@app.get("/")
async def counter() -> Response:
    return await app.send_static_file("counter.html")


@app.get("/desk")
async def desk() -> Response:
    return await app.send_static_file("desk.html")


@app.after_request
async def strictly(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", "default-src 'self'")
    return response


@app.post("/login/<user>")
async def log_in(user: str) -> dict[str, str]:
    session["user"], session["login"] = user, secrets.token_hex(8)
    return {"user": user}


@app.post("/logout")
async def log_out() -> dict[str, bool]:
    login = session.get("login")
    session.clear()
    if login is not None:
        await live.revoke(session=login)
    return {"out": True}


@app.post("/token/<user>")
async def give_token(user: str) -> dict[str, str]:
    claims = {"user": user, "until": time.time() + TOKEN_SECONDS, "number": secrets.token_hex(4)}
    return {"token": str(signer.dumps(claims))}


@app.post("/block/<user>")
async def block(user: str) -> dict[str, bool]:
    blocked.add(user)
    return {"blocked": True}


@app.post("/unblock/<user>")
async def unblock(user: str) -> dict[str, bool]:
    blocked.discard(user)
    return {"blocked": False}


@app.post("/orders/<order_id>")
async def order(order_id: str) -> dict[str, Any]:
    return {"id": str((await live.publish("orders", order_id)).cursor)}
