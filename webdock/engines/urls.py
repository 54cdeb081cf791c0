"""Paths of engines, networks, volumes, events, audit."""

from django.urls import path

from webdock.engines import networks, resources, selftest, timeline, views

urlpatterns = [
    path("networks/", views.network_list, name="network-list"),
    path("networks/create/", resources.network_create, name="network-create"),
    path("networks/prune/", resources.network_prune, name="network-prune"),
    path("networks/<str:name>/remove/", resources.network_remove, name="network-remove"),
    path("networks/<str:name>/connect/", networks.network_connect, name="network-connect"),
    path("networks/<str:name>/disconnect/", networks.network_disconnect, name="network-disconnect"),
    path("networks/<str:name>/", networks.network_detail, name="network-detail"),
    path("volumes/create/", resources.volume_create, name="volume-create"),
    path("volumes/prune/", resources.volume_prune, name="volume-prune"),
    path("volumes/<str:name>/remove/", resources.volume_remove, name="volume-remove"),
    path("volumes/", views.volume_list, name="volume-list"),
    path("events/", timeline.event_list, name="event-list"),
    path("selftest/", selftest.selftest, name="selftest"),
    path("selftest/post/", selftest.selftest_post, name="selftest-post"),
    path("engines/", views.engine_list, name="engine-list"),
    path("audit/", views.audit_list, name="audit-list"),
    path("healthz", views.healthz, name="healthz"),
]
