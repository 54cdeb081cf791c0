"""Images that may not have reached the disk when the machine went down, verified before anything uses them.

What can be mended from what is there is mended; an image that cannot is none any more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from runtime.images.collect import Collector
from runtime.images.progress import Progress
from runtime.images.store import Change, ImageRecord, ImageStore, boot_id
from runtime.images.verify import Verifier

log = logging.getLogger(__name__)


def lost(images: Iterable[ImageRecord], boot: str) -> list[ImageRecord]:
    """Images written under another boot and never settled; pure."""
    return [image for image in images if image.boot is not None and image.boot != boot]


async def mend(
    images: Sequence[ImageRecord], verifier: Verifier, store: ImageStore, collector: Collector
) -> None:
    """Verify each of these, and forget those that stay broken."""
    broken = []
    for image in images:
        log.warning("image %s may not have reached the disk before a crash: verifying it", image.id[7:19])
        findings = await verifier.verify([image], Progress(), repair=True)
        for finding in findings:
            log.warning("image %s: %s%s", finding.image, finding.what, ", mended" if finding.mended else "")
        if not all(finding.mended for finding in findings):
            broken.append(image.id)
    sound = [replace(image, boot=boot_id()) for image in images if image.id not in broken]
    if images:
        await store.change(lambda: Change(sound, broken))
        await collector.collect()
