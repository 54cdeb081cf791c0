"""The Engine API server: sockets, policy, routes and handlers."""
