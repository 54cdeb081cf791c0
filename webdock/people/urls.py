"""Paths of people."""

from django.urls import path

from webdock.people import views

urlpatterns = [
    path("login/", views.login, name="login"),
    path("logout/", views.logout, name="logout"),
    path("welcome/", views.welcome, name="welcome"),
    path("welcome/<str:token>/", views.welcome_link, name="welcome-link"),
]
