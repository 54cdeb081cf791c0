"""Paths of people."""

from django.urls import path

from webdock.people import account_views, api_views, views

urlpatterns = [
    path("account/", account_views.account, name="account"),
    path("account/sessions/end/", account_views.session_end, name="session-end"),
    path("account/tokens/make/", account_views.token_make, name="token-make"),
    path("account/tokens/<int:token>/remove/", account_views.token_remove, name="token-remove"),
    path("api/<path:path>", api_views.api, name="api"),
    path("login/", views.login, name="login"),
    path("logout/", views.logout, name="logout"),
    path("welcome/", views.welcome, name="welcome"),
    path("welcome/<str:token>/", views.welcome_link, name="welcome-link"),
]
