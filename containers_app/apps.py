"""Containers: pages, verbs, terminals, logs. Hands the sync its projection."""

from django.apps import AppConfig


class ContainersConfig(AppConfig):
    name = "containers_app"
    verbose_name = "Containers"

    def ready(self) -> None:
        from containers_app.projection import ContainerProjection
        from webdock.engines.sync import register

        register(ContainerProjection())
