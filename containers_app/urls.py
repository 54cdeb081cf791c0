"""Paths of containers."""

from django.urls import path, re_path

from containers_app import overview, terminals, views

ID = r"(?P<container_id>[0-9a-f]{64})"

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("containers/", views.container_list, name="container-list"),
    path("containers/run/", views.container_run, name="container-run"),
    path("containers/prune/", views.container_prune, name="container-prune"),
    path("terminals/", terminals.terminal_list, name="terminal-list"),
    path("terminals/<uuid:session>/rename/", terminals.terminal_rename, name="terminal-rename"),
    path("terminals/<uuid:session>/end/", terminals.terminal_end, name="terminal-end"),
    path("containers/bulk/", views.container_bulk, name="container-bulk"),
    re_path(rf"^containers/{ID}/$", views.container_detail, name="container-detail"),
    re_path(rf"^containers/{ID}/logs/$", views.container_logs, name="container-logs"),
    re_path(rf"^containers/{ID}/terminal/$", views.container_terminal, name="container-terminal"),
    re_path(rf"^containers/{ID}/terminal/open/$", views.terminal_open, name="terminal-open"),
    re_path(rf"^containers/{ID}/stats/$", views.container_stats, name="container-stats"),
    re_path(rf"^containers/{ID}/processes/$", views.container_processes, name="container-processes"),
    re_path(rf"^containers/{ID}/files/$", views.container_files, name="container-files"),
    re_path(rf"^containers/{ID}/files/download/$", views.container_file_read, name="container-file-read"),
    re_path(rf"^containers/{ID}/files/upload/$", views.container_file_write, name="container-file-write"),
    re_path(rf"^containers/{ID}/inspect/$", views.container_inspect, name="container-inspect"),
    *(
        re_path(rf"^containers/{ID}/{verb}/$", views.container_verb, {"verb": verb}, name=f"container-{verb}")
        for verb in views.VERBS
    ),
]
