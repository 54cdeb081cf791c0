"""The engine: the privileged side of webdock. It knows nothing of Django or of the pages."""

VERSION = "0.1.0"
