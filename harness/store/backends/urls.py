"""Locations of stores: a path, or a URL that fsspec opens. Nothing of a URL that is secret is ever shown."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from settings.errors import UserError
from settings.hashing import cache_folder

__all__ = ["URL", "Location", "absolute", "file_system", "is_url", "mirror_folder", "scrubbed", "shown"]

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
CREDENTIALS = re.compile(r"://(.*:.*)@")
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Where one bucket's name may mean several buckets."""
# Rather told within a minute that nobody answers than after botocore's five times sixty seconds.
PATIENCE = {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 3}}}
OPTIONS: dict[str, dict[str, Any]] = {
    "s3": PATIENCE,
    "s3a": PATIENCE,
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
    with suppress(RuntimeError):  # a home that nobody has
        path = path.expanduser()
    return str(path.resolve())


def shown(url: str) -> str:
    """The URL without passwords and query (which may hold a signature)."""
    return CREDENTIALS.sub("://***@", url.split("?", 1)[0])


def scrubbed(text: str, url: str) -> str:
    """A message of others about this URL, in one line, without its secrets."""
    secrets = [url.split("?", 1)[1]] if "?" in url else []
    if found := CREDENTIALS.search(url):
        secrets += [found[1], *found[1].split(":", 1)]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return " ".join(text.split())


def mirror_folder(url: str) -> Path:
    """The local folder in front of it, below the user's cache: the same whatever credentials the URL has."""
    endpoint = next((value for name in ENDPOINTS if (value := os.environ.get(name))), "")
    name = hashlib.sha256(f"{endpoint} {shown(url).rstrip('/')}".encode()).hexdigest()[:16]
    return cache_folder() / "stores" / name


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path within it.

    Raises UserError for a protocol that nobody knows, whose package is not installed, or that takes no credentials
    in its URL.
    """
    import fsspec

    protocol = URL.match(url)[1].lower()  # type: ignore[index]  # callers have asked is_url
    if protocol in PACKAGES and "@" in url:
        mend = "give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or as a profile"
        raise UserError(shown(url), "credentials in a URL", f"{protocol}://bucket/prefix", mend)
    try:
        system, path = fsspec.url_to_fs(url, use_listings_cache=False, **OPTIONS.get(protocol, {}))
    except ImportError as error:
        package = PACKAGES.get(protocol, "")
        mend = f"pip install '{package}'" if package else scrubbed(str(error), url)
        found = f"a store that needs a package that is not installed ({scrubbed(str(error), url)})"
        raise UserError(shown(url), found, "that package", mend) from None
    except Exception as error:  # whatever a file system's constructor raises for a URL that it does not like
        raise UserError(shown(url), scrubbed(str(error), url), "a URL that fsspec opens, s3://… say") from None
    path = str(path).rstrip("/")
    if protocol != "memory" and not path.strip("/"):
        raise UserError(shown(url), "no place", f"a folder or bucket: {protocol}://NAME/PREFIX")
    return system, path
