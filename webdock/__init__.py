"""webdock: a container engine and the dashboard that shows it.

This package is the roof: settings, URLs, the ASGI application and the command. The rooms are
``webdock.engines`` and ``webdock.people``, ``images_app`` and ``containers_app``; the engine is ``runtime``.
"""

__version__ = "0.1.0"
