"""Static files with hashed names, JavaScript imports rewritten to them as well.

Before ``collectstatic`` ran there is no manifest; then names stay plain: a fresh checkout and the tests work.
"""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStorage(CompressedManifestStaticFilesStorage):
    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        """The hashed name, or the plain one while no manifest is there."""
        return super().stored_name(name) if self.hashed_files else name
