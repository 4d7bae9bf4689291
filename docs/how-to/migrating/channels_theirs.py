"""Orders over Django Channels: a consumer, and a group for each order."""

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import path


class OrderConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close(code=4401)
            return
        self.group = f"orders.{self.scope['url_route']['kwargs']['order_id']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        if hasattr(self, "group"):
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def order_status(self, event: dict[str, str]) -> None:
        await self.send_json({"state": event["state"]})


async def advance(order_id: str, state: str) -> None:
    await get_channel_layer().group_send(f"orders.{order_id}", {"type": "order.status", "state": state})


application = URLRouter([path("orders/<order_id>/", OrderConsumer.as_asgi())])
