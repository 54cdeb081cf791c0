"""Websockets of containers."""

from django.urls import path, re_path

from containers_app.consumers import ContainerRowsConsumer, GaugesConsumer, LogsConsumer, StatsConsumer
from containers_app.merged_logs import MergedLogsConsumer
from containers_app.terminal import TerminalConsumer

websocket_urlpatterns = [
    path("ws/rows/containers/", ContainerRowsConsumer.as_asgi()),
    path("ws/gauges/", GaugesConsumer.as_asgi()),
    path("ws/terminal/<uuid:session>/", TerminalConsumer.as_asgi()),
    path("ws/logs/", MergedLogsConsumer.as_asgi()),
    re_path(r"^ws/logs/(?P<container>[0-9a-f]{64})/$", LogsConsumer.as_asgi()),
    re_path(r"^ws/stats/(?P<container>[0-9a-f]{64})/$", StatsConsumer.as_asgi()),
]
