"""Names of images: parsing, Docker's defaults, familiar and canonical spelling.

Owns the grammar. Never looks anything up.

Spec: distribution reference grammar; docker.io and library/ are filled in as Docker does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NewType

from runtime.api.errors import InvalidArgument

Digest = NewType("Digest", str)  # "sha256:<64 hex>"
ImageId = NewType("ImageId", str)  # the digest of the image's configuration

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
OFFICIAL_PREFIX = "library/"
NAME_MAX_CHARS = 255

_ALNUM = "[a-z0-9]+"
_COMPONENT = rf"{_ALNUM}(?:(?:[._]|__|-+){_ALNUM})*"
_LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_SHORT_ID = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A normalised name: ``docker.io/library/debian:12``, with a tag, a digest, both or neither."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """The repository in full: ``docker.io/library/debian``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people type it: ``debian``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(OFFICIAL_PREFIX)
        if "/" not in short:
            return short
        # docker.io/a.b/c would be taken for the host a.b when it is read again.
        return self.name if _is_host(self.path.partition("/")[0]) else self.path

    @property
    def familiar(self) -> str:
        """As people type it, with tag and digest where they are known: ``debian:12``."""
        return self.familiar_name + self._suffix

    def __str__(self) -> str:
        return self.name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_tag(self, tag: str) -> Reference:
        """The same repository under another tag, without a digest.

        Raises: InvalidArgument.
        """
        return replace(self, tag=check_tag(tag), digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository by digest alone."""
        return replace(self, tag=None, digest=digest)

    def with_default_tag(self) -> Reference:
        """``latest`` is what nothing means; a name with a digest stays as it is."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    @property
    def repository(self) -> Reference:
        return replace(self, tag=None, digest=None)


def parse(text: str) -> Reference:
    """The reference ``text`` names, normalised; no tag is added.

    Raises: InvalidArgument, in Docker's words.
    """
    if _HEX64.fullmatch(text):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at:
        digest = check_digest(digest)
    domain, path = _split_domain(rest)
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidArgument(f"invalid reference format: {_quoted(text)}")
    if not DOMAIN.fullmatch(domain):
        raise InvalidArgument(f"invalid reference format: {_quoted(text)}")
    if not _PATH.fullmatch(path):
        if _PATH.fullmatch(path.lower()):
            raise InvalidArgument(f"invalid reference format: repository name ({path}) must be lowercase")
        raise InvalidArgument(f"invalid reference format: {_quoted(text)}")
    if len(path) > NAME_MAX_CHARS:
        raise InvalidArgument(
            f"invalid reference format: repository name must not be more than {NAME_MAX_CHARS} characters"
        )
    return Reference(domain, path, tag or None, Digest(digest) if at else None)


def parse_with_tag(name: str, tag: str | None) -> Reference:
    """A name and a separate tag or digest, as the query of ``/images/create`` and ``/tag`` has them.

    The separate one wins over what the name carries.

    Raises: InvalidArgument.
    """
    reference = parse(name)
    if not tag:
        return reference
    if ":" in tag:
        return replace(reference, tag=None, digest=check_digest(tag.removeprefix("@")))
    return reference.with_tag(tag)


def check_tag(tag: str) -> str:
    """``tag`` itself when it is one. Raises: InvalidArgument."""
    if not _TAG.fullmatch(tag):
        raise InvalidArgument(f"invalid tag format: {_quoted(tag)}")
    return tag


def check_digest(text: str) -> Digest:
    """``text`` itself when it is a digest we can compute. Raises: InvalidArgument."""
    algorithm, colon, value = text.partition(":")
    length = _DIGEST_LENGTHS.get(algorithm)
    if colon and length is None:
        raise InvalidArgument(f"unsupported digest algorithm: {_quoted(text)}")
    if not colon or len(value) != length or not _HEX.fullmatch(value):
        raise InvalidArgument(f"invalid digest format: {_quoted(text)}")
    return Digest(text)


def is_digest(text: str) -> bool:
    """Whether ``text`` is a digest this engine can compute."""
    try:
        check_digest(text)
    except InvalidArgument:
        return False
    return True


def id_prefix(text: str) -> str | None:
    """The hexadecimal digits of a full or short image id; None when ``text`` cannot be one."""
    return text.removeprefix("sha256:") if _SHORT_ID.fullmatch(text) else None


def _split_domain(rest: str) -> tuple[str, str]:
    first, slash, remainder = rest.partition("/")
    is_host = bool(slash) and _is_host(first)
    domain, path = (first, remainder) if is_host else (DEFAULT_DOMAIN, rest)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = OFFICIAL_PREFIX + path
    return domain, path


def _is_host(first: str) -> bool:
    """Docker's rule: a first part is a host when it has a dot, a port or capitals, or is localhost."""
    return any(sign in first for sign in ".:[") or first == "localhost" or first != first.lower()


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 128 else text[:128] + "…")
