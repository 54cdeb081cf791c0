"""Static files with hashed names, JavaScript imports rewritten to them as well, and the styles of every page
in one file: a page paints when the last of them is there.

Before ``collectstatic`` ran there is no manifest; then names stay plain: a fresh checkout and the tests work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.files.base import ContentFile
from whitenoise.storage import CompressedManifestStaticFilesStorage

STYLES = ("css/tokens.css", "css/layout.css", "css/parts.css", "css/views.css")  # in this order
TOGETHER = "css/together.css"


class HashedStorage(CompressedManifestStaticFilesStorage):
    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        """The hashed name, or the plain one while no manifest is there."""
        return super().stored_name(name) if self.hashed_files else name

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Iterator[Any]:
        if not dry_run and all(name in paths for name in STYLES):
            parts = []
            for name in STYLES:
                storage, path = paths[name]
                with storage.open(path) as file:
                    parts.append(file.read())
            self.delete(TOGETHER)
            self.save(TOGETHER, ContentFile(b"\n".join(parts)))
            paths[TOGETHER] = (self, TOGETHER)
        yield from super().post_process(paths, dry_run, **options)

    @property
    def styles(self) -> tuple[str, ...]:
        """What a page asks for to have every page's style."""
        return (TOGETHER,) if TOGETHER in self.hashed_files else STYLES
