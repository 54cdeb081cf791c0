"""Containers: records, states, verbs, exec sessions, logs."""
