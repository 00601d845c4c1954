"""An object store on this machine, for tests that judge images in one."""

from tests.small_stores import bucket, google, server

__all__ = ["bucket", "google", "server"]  # fixtures
