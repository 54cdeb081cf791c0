"""Paths of engines, networks, volumes, events, audit."""

from django.urls import path

from webdock.engines import audit_views, networks, resources, selftest, timeline, views, volume_files, volumes

# No network and no volume is called "-", so what is asked of all of them hides none.
urlpatterns = [
    path("networks/", views.network_list, name="network-list"),
    path("networks/-/create/", resources.network_create, name="network-create"),
    path("networks/-/prune/", resources.network_prune, name="network-prune"),
    path("networks/<str:name>/remove/", resources.network_remove, name="network-remove"),
    path("networks/<str:name>/connect/", networks.network_connect, name="network-connect"),
    path("networks/<str:name>/disconnect/", networks.network_disconnect, name="network-disconnect"),
    path("networks/<str:name>/", networks.network_detail, name="network-detail"),
    path("volumes/-/create/", resources.volume_create, name="volume-create"),
    path("volumes/-/prune/", resources.volume_prune, name="volume-prune"),
    path("volumes/<str:name>/remove/", resources.volume_remove, name="volume-remove"),
    path("volumes/", views.volume_list, name="volume-list"),
    path("volumes/-/sizes/", volumes.volume_sizes, name="volume-sizes"),
    path("volumes/<str:name>/", volumes.volume_detail, name="volume-detail"),
    path("volumes/<str:name>/files/view/", volume_files.volume_file_view, name="volume-file-view"),
    path("volumes/<str:name>/files/read/", volume_files.volume_file_read, name="volume-file-read"),
    path("volumes/<str:name>/files/upload/", volume_files.volume_file_write, name="volume-file-write"),
    path("volumes/<str:name>/archive/", volume_files.volume_archive, name="volume-archive"),
    path("volumes/<str:name>/restore/", volume_files.volume_restore, name="volume-restore"),
    path("volumes/<str:name>/clone/", volume_files.volume_clone, name="volume-clone"),
    path("events/", timeline.event_list, name="event-list"),
    path("selftest/", selftest.selftest, name="selftest"),
    path("selftest/post/", selftest.selftest_post, name="selftest-post"),
    path("engines/", views.engine_list, name="engine-list"),
    path("audit/", audit_views.audit_list, name="audit-list"),
    path("audit/export/", audit_views.audit_export, name="audit-export"),
    path("healthz", views.healthz, name="healthz"),
]
