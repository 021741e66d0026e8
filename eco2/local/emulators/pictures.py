"""Pictures of the emulated LLM: plain squares whose colour depends on the prompt alone."""

import base64
import io
import time
import zlib
from typing import Any

SIZE = 256


def answer(request: dict[str, Any], fault: str | None) -> dict[str, Any]:
    """Body of `/v1/images/generations`; with `garbage` it has no picture, with `cut` too little of one. ValueError and
    LookupError where the real API would refuse the request."""
    prompt = request["prompt"]
    if not isinstance(prompt, str) or not prompt or "model" not in request:
        raise ValueError("model and prompt are needed")
    if unknown := set(request) - {"model", "prompt", "n", "size", "quality", "output_format", "output_compression"}:
        raise ValueError(f"unknown parameters: {sorted(unknown)}")
    drawn = _picture(prompt)
    if fault == "cut":
        drawn = drawn[:20]
    data = [{} if fault == "garbage" else {"b64_json": base64.b64encode(drawn).decode()}]
    used = {"input_tokens": len(prompt) // 4, "output_tokens": 1056}
    return {
        "created": int(time.time()),
        "data": data,
        "usage": {**used, "total_tokens": sum(used.values())},
    }


def _picture(prompt: str) -> bytes:
    from PIL import Image  # of no use to an emulator that only talks

    red, green, blue = zlib.crc32(prompt.encode()).to_bytes(4, "big")[:3]
    out = io.BytesIO()
    Image.new("RGB", (SIZE, SIZE), (red, green, blue)).save(out, "JPEG")
    return out.getvalue()
