"""A URL table with a view that forgot to declare its right."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from webdock.urls import urlpatterns as real


async def forgotten(request: HttpRequest) -> HttpResponse:
    return HttpResponse("never seen")


urlpatterns = [*real, path("forgotten/", forgotten)]
