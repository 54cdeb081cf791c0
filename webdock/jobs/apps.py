"""Long jobs as objects: what runs for longer than a request, seen by everybody and kept with its outcome."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "webdock.jobs"
    label = "jobs"
    verbose_name = "Jobs"
