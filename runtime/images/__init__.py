"""Images: references, registries, content, unpacking, records."""
