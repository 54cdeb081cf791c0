"""Registries: their passwords, kept encrypted, and the page on which they and their mirrors are set."""

from django.apps import AppConfig


class RegistriesConfig(AppConfig):
    name = "webdock.registries"
    label = "registries"
    verbose_name = "Registries"
