"""Verifying images: blobs against their digests, unpacked layers against their blobs; mending what can be.

A damaged blob is thrown away and fetched again, now or by the next pull; a damaged layer is made anew from
its blob.

Spec: OCI image 1.1, descriptor.md "Digests".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from runtime.api.errors import Conflict, EngineError, NotFound
from runtime.images.collect import Collector
from runtime.images.content import ContentStore
from runtime.images.fetch import Fetches
from runtime.images.layers import Layers, Step, steps
from runtime.images.progress import Progress, first_error, short, status
from runtime.images.reference import Digest
from runtime.images.store import ImageRecord
from runtime.images.threads import to_the_end
from runtime.images.workers import Workers
from runtime.snapshots.base import Snapshotter

AGAIN = "pull the image again"

Fetch = Callable[[ImageRecord], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    image: str  # a name, or the id
    what: str
    mended: bool


class Verifier:
    """Verifies images."""

    def __init__(
        self,
        content: ContentStore,
        snapshots: Snapshotter,
        collector: Collector,
        fetches: Fetches,
        layers: Layers,
        workers: Workers,
    ) -> None:
        self._content = content
        self._snapshots = snapshots
        self._collector = collector
        self._fetches = fetches
        self._layers = layers
        self._workers = workers

    async def tell(
        self, images: Sequence[ImageRecord], progress: Progress, *, repair: bool, fetch: Fetch
    ) -> None:
        """Verify, and mend when asked; what is wrong comes last, as messages."""
        findings = await self.verify(images, progress, repair=repair)
        if repair:
            findings = await self.pull_again(images, findings, progress, fetch)
        for finding in findings:
            progress.put({"finding": asdict(finding)})
        progress.put({"verified": len(images), "findings": len(findings)})

    async def verify(
        self, images: Iterable[ImageRecord], progress: Progress, *, repair: bool
    ) -> list[Finding]:
        """Look at every byte of these images; each blob and layer once."""
        findings: list[Finding] = []
        blobs: dict[Digest, bool] = {}  # whether it is sound
        layers: dict[str, bool] = {}  # by chain id, which may be the digest of a blob
        for image in images:
            name = _named(image)
            progress.put(status("Verifying", name))
            before = len(findings)
            for digest in sorted(image.all_blobs):
                if digest not in blobs:
                    blobs[digest] = await to_the_end(self._content.verify, digest)
                if not blobs[digest]:
                    findings.append(await self._blob(name, digest, repair))
            for step in steps(image.blobs, image.diff_ids):
                if step.chain_id not in layers:
                    found = await self._layer(name, step, blobs[step.blob.digest], repair)
                    layers[step.chain_id] = not found
                    findings += found
                elif not layers[step.chain_id]:
                    findings.append(Finding(name, f"layer {short(step.chain_id)} is damaged", mended=False))
            progress.put(status("Sound" if len(findings) == before else "Damaged", name))
        return findings

    async def pull_again(
        self, images: Iterable[ImageRecord], findings: Sequence[Finding], progress: Progress, fetch: Fetch
    ) -> list[Finding]:
        """Fetch damaged images from where they came, and look again: the findings as they are then."""
        left = {finding.image for finding in findings if not finding.mended}
        for image in images:
            name = _named(image)
            if name not in left or not image.sources:
                continue
            before = [finding for finding in findings if finding.image == name]
            after: list[Finding] = []
            try:
                await fetch(image)
                after = await self.verify([image], progress, repair=True)
            except (ExceptionGroup, EngineError) as error:
                why = first_error(error) if isinstance(error, ExceptionGroup) else error
                after = [replace(one, what=f"{one.what} ({why.message})") for one in before if not one.mended]
            mended = [
                replace(one, what=one.what.replace(AGAIN, "pulled again"), mended=True)
                for one in before
                if all(one.what not in other.what for other in after)
            ]
            findings = [*(one for one in findings if one.image != name), *mended, *after]
        return list(findings)

    async def _blob(self, name: str, digest: Digest, repair: bool) -> Finding:
        here = self._content.has(digest)
        if here and repair:
            async with self._collector.lock:
                await to_the_end(self._content.remove, digest)
        what = "is damaged" if here else "is missing"
        return Finding(name, f"blob {digest} {what}: {AGAIN}", mended=False)

    async def _layer(self, name: str, step: Step, blob_is_sound: bool, repair: bool) -> list[Finding]:
        """What is wrong with one unpacked layer."""
        if self._snapshots.has_layer(step.chain_id):
            if not blob_is_sound:
                return []  # nothing to hold it against; the blob was told already
            differences = await self._compare(step)
            if not differences:
                return []
            what = f"layer {short(step.chain_id)} is damaged: {differences[0]}"
            if len(differences) > 1:
                what += f" (and {len(differences) - 1} more)"
        else:
            what = f"layer {short(step.chain_id)} is missing"
        mended = repair and blob_is_sound and await self._make_anew(step)
        return [Finding(name, what, mended)]

    async def _compare(self, step: Step) -> Sequence[str]:
        path = await to_the_end(self._snapshots.layer_path, step.chain_id)
        try:
            return await self._workers.compare(self._fetches.kept(step.blob), path)
        except EngineError as error:
            return [error.message]

    async def _make_anew(self, step: Step) -> bool:
        async with self._collector.lock:
            try:
                await to_the_end(self._snapshots.remove_layer, step.chain_id)
            except NotFound:
                pass
            except Conflict:
                return False  # a container stands on it
        try:
            await self._layers.ensure([step], (), lambda _: None)
        except (ExceptionGroup, EngineError):
            return False
        return True


def _named(image: ImageRecord) -> str:
    return image.tags[0] if image.tags else short(image.id)
