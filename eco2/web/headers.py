"""Security headers of every answer."""

from collections.abc import Sequence
from urllib.parse import urlsplit


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def policy(uploads: str, photos: str, tiles: str = "") -> str:
    """Content-Security-Policy: nothing inline, nothing of others; photos come and go where the object store is, and
    the map's tiles come from where they are configured to."""
    pictures = " ".join(dict.fromkeys(map(origin, filter(None, (photos, tiles)))))
    store = " ".join(dict.fromkeys((origin(uploads), origin(photos))))
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"'self' blob: data: {pictures}",
        "connect-src": f"'self' {store}",
        "font-src": "'self'",
        "manifest-src": "'self'",
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def security(csp: str, *, https: bool) -> Sequence[tuple[bytes, bytes]]:
    rows = {
        "content-security-policy": csp,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(self), geolocation=(self), microphone=(), payment=(), usb=()",
        "referrer-policy": "strict-origin-when-cross-origin",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
    if https:
        rows["strict-transport-security"] = "max-age=31536000; includeSubDomains"
    return [(name.encode(), value.encode()) for name, value in rows.items()]
