"""Every path, from the rooms' own tables."""

from django.contrib import admin
from django.urls import include, path
from django.views.i18n import set_language

from webdock.languages import javascript_catalogue
from webdock.people.rights import PUBLIC, requires

urlpatterns = [
    path("", include("containers_app.urls")),
    path("", include("images_app.urls")),
    path("", include("webdock.engines.urls")),
    path("", include("webdock.jobs.urls")),
    path("", include("webdock.registries.urls")),
    path("", include("webdock.people.urls")),
    path("language/", requires(PUBLIC)(set_language), name="set_language"),
    path("language/<slug:code>.js", javascript_catalogue, name="javascript-catalogue"),
    path("admin/", admin.site.urls),
]
