"""The OCI runtime and conmon, each behind one module."""
