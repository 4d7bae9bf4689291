"""What Django does for it: sign a token for the page, and publish when the transaction is committed."""

import os
import time
from functools import partial

import jwt
from django.db import transaction
from django.http import HttpRequest, JsonResponse

from triolet import SyncPublisher

live = SyncPublisher(os.environ.get("LIVE_LOG", "sqlite:///orders.db"))


def live_token(request: HttpRequest, order_id: str) -> JsonResponse:
    """For the page: ``connect("https://live.shop.example", {token: () => …})`` asks for it. Check who asks, as ever."""
    claims = {"sub": str(request.user.pk), "aud": "live", "orders": [order_id], "exp": time.time() + 900}
    return JsonResponse({"token": jwt.encode(claims, os.environ["LIVE_TOKEN_KEY"])})


def advance(request: HttpRequest, order_id: str, state: str) -> JsonResponse:
    with transaction.atomic():
        # … the rows …
        publish = partial(live.publish, f"orders/{order_id}", {"state": state}, name="order-status")
        transaction.on_commit(publish)
    return JsonResponse({"state": state})
