"""Images: pages, pulls. Hands the sync its projection."""

from django.apps import AppConfig


class ImagesConfig(AppConfig):
    name = "images_app"
    verbose_name = "Images"

    def ready(self) -> None:
        from images_app.projection import ImageProjection
        from webdock.engines.sync import register

        register(ImageProjection())
