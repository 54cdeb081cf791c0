"""Paths of jobs."""

from django.urls import path, re_path

from webdock.jobs import views

urlpatterns = [
    path("jobs/", views.job_list, name="job-list"),
    re_path(r"^jobs/(?P<job_id>[0-9a-f]{32})/cancel/$", views.job_cancel, name="job-cancel"),
]
