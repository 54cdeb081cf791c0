"""People: log in, first administrator, rights, and the admin site."""

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class PeopleConfig(AppConfig):
    name = "webdock.people"
    label = "people"
    verbose_name = "People"
    default = True


class AdminConfig(SimpleAdminConfig):
    default = False
    default_site = "webdock.people.admin_site.WebdockAdminSite"

    def ready(self) -> None:
        super().ready()
        self.module.autodiscover()
