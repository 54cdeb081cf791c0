"""Paths of images. Ids are their 64 hexadecimal digits, without the algorithm."""

from django.urls import path, re_path

from images_app import moves, views
from images_app.layers import image_layer_changes

ID = r"(?:sha256:)?(?P<image_id>[0-9a-f]{64})"

urlpatterns = [
    path("images/", views.image_list, name="image-list"),
    path("images/prune/", views.image_prune, name="image-prune"),
    path("images/pull/", views.image_pull, name="image-pull"),
    re_path(rf"^images/{ID}/$", views.image_detail, name="image-detail"),
    re_path(
        rf"^images/{ID}/layers/(?P<layer>[0-9]{{1,4}})/changes/$",
        image_layer_changes,
        name="image-layer-changes",
    ),
    re_path(rf"^images/{ID}/push/$", moves.image_push, name="image-push"),
    re_path(rf"^images/{ID}/save/$", moves.image_save, name="image-save"),
    re_path(rf"^images/{ID}/remove/$", views.image_remove, name="image-remove"),
    re_path(rf"^images/{ID}/tag/$", views.image_tag, name="image-tag"),
]
