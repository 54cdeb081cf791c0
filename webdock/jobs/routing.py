"""Websockets of jobs."""

from django.urls import path

from webdock.jobs.consumers import JobsConsumer

websocket_urlpatterns = [path("ws/jobs/", JobsConsumer.as_asgi())]
