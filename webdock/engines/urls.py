"""Paths of engines, networks, volumes, events, audit."""

from django.urls import path

from webdock.engines import views

urlpatterns = [
    path("networks/", views.network_list, name="network-list"),
    path("volumes/", views.volume_list, name="volume-list"),
    path("events/", views.event_list, name="event-list"),
    path("engines/", views.engine_list, name="engine-list"),
    path("audit/", views.audit_list, name="audit-list"),
    path("healthz", views.healthz, name="healthz"),
]
