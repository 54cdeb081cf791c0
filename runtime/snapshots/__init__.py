"""Root file systems: layers and the writable directory of a container."""
