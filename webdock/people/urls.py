"""Paths of people."""

from django.urls import path

from webdock.people import (
    account_views,
    api_views,
    factor_views,
    invited_views,
    owner_views,
    people_views,
    team_views,
    views,
)

urlpatterns = [
    path("account/", account_views.account, name="account"),
    path("account/factor/", factor_views.factor, name="factor"),
    path("account/factor/start/", factor_views.factor_start, name="factor-start"),
    path("account/factor/off/", factor_views.factor_off, name="factor-off"),
    path("account/factor/codes/", factor_views.factor_codes, name="factor-codes"),
    path("account/sessions/end/", account_views.session_end, name="session-end"),
    path("account/tokens/make/", account_views.token_make, name="token-make"),
    path("account/tokens/<int:token>/remove/", account_views.token_remove, name="token-remove"),
    path("owners/", owner_views.owners, name="owners"),
    path("teams/", team_views.team_list, name="team-list"),
    path("teams/make/", team_views.team_make, name="team-make"),
    path("teams/<int:team>/", team_views.team_detail, name="team-detail"),
    path("teams/<int:team>/member/", team_views.team_member, name="team-member"),
    path("teams/<int:team>/member/remove/", team_views.team_member_remove, name="team-member-remove"),
    path("teams/<int:team>/quota/", team_views.team_quota, name="team-quota"),
    path("api/<path:path>", api_views.api, name="api"),
    path("login/", views.login, name="login"),
    path("login/code/", factor_views.login_code, name="login-code"),
    path("logout/", views.logout, name="logout"),
    path("invited/", invited_views.invited, name="invited"),
    path("invited/<str:token>/", invited_views.invited_link, name="invited-link"),
    path("people/", people_views.people, name="people-list"),
    path("people/invite/", people_views.invite, name="people-invite"),
    path("people/invitations/<int:invitation>/revoke/", people_views.revoke, name="invitation-revoke"),
    path("people/<int:person>/link/", people_views.password_link, name="person-password-link"),
    path("people/<int:person>/factor/", people_views.factor_reset, name="person-factor-reset"),
    path("welcome/", views.welcome, name="welcome"),
    path("welcome/<str:token>/", views.welcome_link, name="welcome-link"),
]
