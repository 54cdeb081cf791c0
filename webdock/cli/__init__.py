"""The ``webdock`` command: server verbs that start things, client verbs that speak HTTP to an engine's
socket.
"""
