"""Where finished videos live: content-addressed objects in a local folder or any object store."""

from rushes.studio.storage.errors import NoSuchObject, StorageError
from rushes.studio.storage.media import Media, StoredObject

__all__ = ["Media", "NoSuchObject", "StorageError", "StoredObject"]
