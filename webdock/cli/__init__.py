"""The ``webdock`` command: verbs that start things, and verbs that speak HTTP to an engine's socket."""
