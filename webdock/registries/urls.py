"""Paths of registries."""

from django.urls import path

from webdock.registries import views

urlpatterns = [
    path("registries/", views.registry_list, name="registry-list"),
    path("registries/save/", views.registry_save, name="registry-save"),
    path("registries/test/", views.registry_test, name="registry-test"),
    path("registries/remove/", views.registry_remove, name="registry-remove"),
    path("registries/local/", views.registry_local, name="registry-local"),
]
