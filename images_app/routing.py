"""Websockets of images."""

from django.urls import path

from images_app.consumers import ImageRowsConsumer, PullsConsumer
from images_app.uploads import LoadConsumer

websocket_urlpatterns = [
    path("ws/rows/images/", ImageRowsConsumer.as_asgi()),
    path("ws/pulls/", PullsConsumer.as_asgi()),
    path("ws/images/load/", LoadConsumer.as_asgi()),
]
