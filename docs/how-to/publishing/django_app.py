"""A shop in Django, in one file, that publishes when its transaction has been committed."""

import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from triolet import SyncPublisher

settings.configure(
    SECRET_KEY=os.environ.get("SHOP_SECRET", "only for trying it out"),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SHOP_FILE", "shop.db")}},
)
django.setup()
live = SyncPublisher(os.environ.get("LIVE_LOG", "redis://localhost/0"))  # in your project: in a module of its own


def pay(request: HttpRequest, order_id: str) -> HttpResponse:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS paid(id TEXT PRIMARY KEY)")
            cursor.execute("INSERT INTO paid VALUES (%s)", [order_id])
        transaction.on_commit(lambda: live.publish(f"orders/{order_id}", {"state": "paid"}, name="order-status"))
    return HttpResponse(status=204)


urlpatterns = [path("orders/<order_id>/pay", pay)]
application = get_wsgi_application()
