"""Locations of stores: a path, or a URL that fsspec opens. Nothing of a URL that is secret is ever shown."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from settings.errors import UserError
from settings.hashing import cache_folder

if TYPE_CHECKING:
    from harness.store.backends._creation import FileSystem

__all__ = ["URL", "Location", "absolute", "file_system", "is_url", "mirror_folder", "scrubbed", "shown"]

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(::.*)?://")
"""Also the chains of fsspec, `simplecache::s3://bucket`."""
CREDENTIALS = re.compile(r"://(.*:.*)@")
TAIL = re.compile(r"[?#]")
"""Where query or fragment begin."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Environment variables that name another server than Amazon's: there a bucket's name means another bucket."""
# Rather told within a minute that nobody answers than after botocore's five times sixty seconds.
PATIENCE = {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}}
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "s3": PATIENCE,
    "s3a": PATIENCE,
    # Object stores know no folders; on a file system each has to be made before a file is written into it.
    "file": {"auto_mkdir": True},
    "local": {"auto_mkdir": True},
}
PACKAGES = {"s3": "seedbed[s3]", "s3a": "seedbed[s3]"}
"""Our extras that bring what a protocol needs."""
Location = str | Path
"""Where a store lies: a folder, or a URL."""


def is_url(location: Location) -> bool:
    """Whether it is a URL; a `Path` never is."""
    return isinstance(location, str) and URL.match(location) is not None


def absolute(location: Location) -> str:
    """A URL as it is; a path from the root on, `~` expanded, as processes that start elsewhere need it."""
    if is_url(location):
        return str(location)
    path = Path(location)
    with suppress(RuntimeError):  # `~somebody`, of whom this machine knows no home: then it is a folder's name
        path = path.expanduser()
    return str(path.resolve())


def shown(url: str) -> str:
    """The URL as messages and logs may have it: without passwords, query and fragment (which may hold a signature)."""
    # Passwords first: one may hold a question mark.
    return TAIL.split(CREDENTIALS.sub("://***@", url), maxsplit=1)[0]


def scrubbed(text: str, url: str) -> str:
    """A message that a library made about this URL, in one line, each secret of the URL replaced by `***`."""
    # Libraries repeat the URL in their errors, whole or in pieces: each piece is looked for alone.
    secrets = TAIL.split(CREDENTIALS.sub("", url))[1:]
    if found := CREDENTIALS.search(url):
        secrets += [found[1], *found[1].split(":", 1)]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return " ".join(text.split())


def mirror_folder(url: str) -> Path:
    """The local folder in front of it, below the user's cache: the same whatever credentials the URL has."""
    # In the order in which botocore reads them: the variable for S3 alone wins.
    set_ones = filter(None, map(os.environ.get, ENDPOINTS))
    endpoint = next(set_ones, "")
    name = hashlib.sha256(f"{endpoint} {shown(url).rstrip('/')}".encode()).hexdigest()[:16]
    return cache_folder() / "stores" / name


def file_system(url: str) -> tuple[FileSystem, str]:
    """fsspec's file system for a URL, and the path of the URL within it.

    Raises UserError for a protocol that nobody knows, whose package is not installed, or that takes no credentials
    in its URL, and for several protocols in one URL.
    """
    import fsspec

    if "::" in url:
        mend = "name the last of them alone: a store keeps copies of its own"
        raise UserError(shown(url), "a chain of protocols", "one protocol, s3://bucket/prefix say", mend)
    protocol = url.partition("://")[0].lower()
    # s3fs would take them for a part of the bucket's name, and tell them in its errors.
    if protocol in PACKAGES and "@" in url:
        mend = "give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or as a profile"
        raise UserError(shown(url), "credentials in a URL", f"{protocol}://bucket/prefix", mend)
    try:
        # Listings are asked for to learn what other machines have done since: a remembered one would never tell.
        system, path = fsspec.url_to_fs(url, use_listings_cache=False, **OPTIONS.get(protocol, {}))
    except ImportError as error:
        mend = reason = scrubbed(str(error), url)
        if protocol in PACKAGES:
            mend = f"pip install '{PACKAGES[protocol]}'"
        found = f"a store that needs a package that is not installed ({reason})"
        raise UserError(shown(url), found, "that package", mend) from None
    except Exception as error:  # whatever a file system's constructor raises for a URL that it does not like
        raise UserError(shown(url), scrubbed(str(error), url), "a URL that fsspec opens, s3://… say") from None
    path = str(path).rstrip("/")
    if protocol != "memory" and not path.strip("/"):
        raise UserError(shown(url), "no place", f"a folder or bucket: {protocol}://NAME/PREFIX")
    return system, path
