"""A shop in Django beside the server of channels.toml: it signs tokens, publishes, and says who may enter a room.

python django_app.py runserver 9000
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from typing import Any

import jwt
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

PUBLISH = os.environ.get("PUBLISH_URL", "http://127.0.0.1:9100/publish")
USERS: dict[str, dict[str, list[str]]] = {
    "ann": {"orders": ["A1"], "rooms": ["packing"]},
    "bob": {"orders": ["A2"], "rooms": []},
}

settings.configure(
    SECRET_KEY=os.environ["TOKEN_KEY"],
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
)


def publish(channel: str, data: Any, **more: str) -> None:
    """Publish an event: when this returns it is in the log."""
    body = json.dumps({"channel": channel, "data": data, **more}).encode()
    key = {"Authorization": f"Bearer {os.environ['TRIOLET_ADMIN_KEY']}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(PUBLISH, body, key), timeout=10):
        pass


def user_of(request: HttpRequest) -> str | None:
    """Who asks, by the cookie of the login."""
    user: str | None = request.get_signed_cookie("user", default=None)
    return user


@csrf_exempt
@require_POST
def login(request: HttpRequest, user: str) -> HttpResponse:
    """Log in: a shop would ask for a password."""
    if user not in USERS:
        return HttpResponse(status=404)
    answer = JsonResponse({"user": user})
    answer.set_signed_cookie("user", user, httponly=True, samesite="Lax")
    return answer


def token(request: HttpRequest) -> HttpResponse:
    """A token for the page, with what its visitor may follow."""
    user = user_of(request)
    if user is None:
        return HttpResponse(status=401)
    claims = {"sub": user, "aud": "live", "exp": time.time() + 600, "orders": USERS[user]["orders"]}
    return JsonResponse({"token": jwt.encode(claims, os.environ["TOKEN_KEY"])})


@csrf_exempt
@require_POST
def advance(request: HttpRequest, order_id: str, state: str) -> HttpResponse:
    """Something happens to an order."""
    publish(f"orders/{order_id}", {"state": state}, name="order-status")
    return JsonResponse({"state": state})


@csrf_exempt
@require_POST
def may(request: HttpRequest) -> HttpResponse:
    """The callback: may this visitor enter the room?"""
    user, room = user_of(request), json.loads(request.body)["values"]["room"]
    if user is None or room not in USERS[user]["rooms"]:
        return JsonResponse({"allow": False})
    return JsonResponse({"allow": True, "subject": user, "expires_in": 3600})


urlpatterns = [
    path("login/<user>", login),
    path("token", token),
    path("orders/<order_id>/<state>", advance),
    path("live/may", may),
]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
