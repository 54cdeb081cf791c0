"""The ground floor's app: engines, audit, the sync. Hands the sync the counts the side bar shows."""

from django.apps import AppConfig


class EnginesConfig(AppConfig):
    name = "webdock.engines"
    label = "engines"
    verbose_name = "Engines"

    def ready(self) -> None:
        from webdock.engines.sync import register
        from webdock.engines.tallies import NetworkTally, VolumeTally

        register(NetworkTally())
        register(VolumeTally())
