"""Change of a photo's owner: the tag in the key is that of the owner, so the photo gets a new key.

The new key follows from the old one and the owner, so a repeated call finds the same copy.
"""

from uuid import UUID

from eco2.contracts import uploads
from eco2.core.storage import Storage


async def reissue(storage: Storage, secret: str, owner: UUID, key: str) -> str:
    """The key under which the photo is its new owner's. The old one stays until nothing names it. StorageDown."""
    new = uploads.reissued(secret, str(owner), key)
    if new != key:
        await storage.public.copy(key, new)
        await storage.uploads.copy(key, new)
    return new
