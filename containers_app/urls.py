"""Paths of containers."""

from django.urls import path, re_path

from containers_app import (
    detail,
    edit_views,
    file_edits,
    file_views,
    log_views,
    metrics,
    overview,
    recordings,
    run_views,
    terminal_sharing,
    terminals,
    views,
)
from containers_app.verbs import VERBS

ID = r"(?P<container_id>[0-9a-f]{64})"

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("metrics", metrics.metrics, name="metrics"),
    path("containers/", views.container_list, name="container-list"),
    path("containers/run/", run_views.container_run, name="container-run"),
    path("containers/run/check/", run_views.container_run_check, name="container-run-check"),
    path("containers/run/read/", run_views.container_run_read, name="container-run-read"),
    path("recreations/<uuid:id>/", edit_views.recreation, name="recreation"),
    path("logs/", log_views.merged_logs, name="logs"),
    path("containers/prune/", views.container_prune, name="container-prune"),
    path("terminals/", terminals.terminal_list, name="terminal-list"),
    path("terminals/<uuid:session>/rename/", terminals.terminal_rename, name="terminal-rename"),
    path("terminals/<uuid:session>/share/", terminal_sharing.terminal_share, name="terminal-share"),
    path("terminals/<uuid:session>/unshare/", terminal_sharing.terminal_unshare, name="terminal-unshare"),
    path("terminals/<uuid:session>/record/", recordings.terminal_record, name="terminal-record"),
    path("recordings/", recordings.recording_list, name="recording-list"),
    path("recordings/<uuid:recording>/", recordings.recording_detail, name="recording-detail"),
    path("recordings/<uuid:recording>/cast/", recordings.recording_cast, name="recording-cast"),
    path("recordings/<uuid:recording>/remove/", recordings.recording_remove, name="recording-remove"),
    path("terminals/<uuid:session>/end/", terminals.terminal_end, name="terminal-end"),
    path("containers/bulk/", views.container_bulk, name="container-bulk"),
    re_path(rf"^containers/{ID}/$", detail.container_detail, name="container-detail"),
    re_path(rf"^containers/{ID}/logs/$", detail.container_logs, name="container-logs"),
    re_path(
        rf"^containers/{ID}/logs/download/$", log_views.container_log_download, name="container-log-download"
    ),
    re_path(rf"^containers/{ID}/terminal/$", terminals.container_terminal, name="container-terminal"),
    re_path(rf"^containers/{ID}/terminal/open/$", terminals.terminal_open, name="terminal-open"),
    re_path(rf"^containers/{ID}/stats/$", detail.container_stats, name="container-stats"),
    re_path(rf"^containers/{ID}/processes/$", detail.container_processes, name="container-processes"),
    re_path(rf"^containers/{ID}/files/$", file_views.container_files, name="container-files"),
    re_path(
        rf"^containers/{ID}/files/download/$", file_views.container_file_read, name="container-file-read"
    ),
    re_path(
        rf"^containers/{ID}/files/compare/$",
        file_views.container_file_compare,
        name="container-file-compare",
    ),
    re_path(
        rf"^containers/{ID}/files/upload/$", file_views.container_file_write, name="container-file-write"
    ),
    re_path(rf"^containers/{ID}/duplicate/$", run_views.container_duplicate, name="container-duplicate"),
    re_path(rf"^containers/{ID}/edit/$", edit_views.container_edit, name="container-edit"),
    re_path(rf"^containers/{ID}/files/edit/$", file_edits.container_file_edit, name="container-file-edit"),
    re_path(
        rf"^containers/{ID}/files/mkdir/$",
        file_edits.container_directory_make,
        name="container-directory-make",
    ),
    re_path(
        rf"^containers/{ID}/files/remove/$", file_edits.container_file_remove, name="container-file-remove"
    ),
    re_path(rf"^containers/{ID}/events/$", detail.container_events, name="container-events"),
    re_path(rf"^containers/{ID}/inspect/$", detail.container_inspect, name="container-inspect"),
    *(
        re_path(rf"^containers/{ID}/{verb}/$", views.container_verb, {"verb": verb}, name=f"container-{verb}")
        for verb in VERBS
    ),
    path("containers/<str:ref>/", detail.container_named, name="container-named"),  # after those with words
]
