"""Errors of the scan services that a client may meet."""

from eco2.core.errors import BadRequest, Conflict, NotFound, Unavailable


class ImageUrlRequired(BadRequest):
    """Give the cdn_url of an uploaded photo as image_url."""

    code = "IMAGE_URL_REQUIRED"


class ImageUrlRefused(BadRequest):
    """image_url must be the cdn_url that POST /images/scan gave you; other addresses are never fetched."""

    code = "IMAGE_URL_NOT_ALLOWED"


class ModelUnsupported(BadRequest):
    """This model is not available."""

    code = "UNSUPPORTED_MODEL"


class KeyReused(Conflict):
    """The idempotency key was used for another photo; make a new key for each scan."""

    code = "IDEMPOTENCY_KEY_REUSED"


class ScanUnavailable(Unavailable):
    """The scan could not be queued; nothing is lost, try again with the same idempotency key."""

    code = "SCAN_UNAVAILABLE"


class ResultNotFound(NotFound):
    """There is no such scan."""

    code = "RESULT_NOT_FOUND"


class ImageGone(NotFound):
    """사진을 찾을 수 없어요. 사진을 다시 올려 주세요."""

    code = "IMAGE_NOT_FOUND"
    english = "The photo is not there. Upload it again."


class ChoiceNotNeeded(Conflict):
    """This scan does not wait for a choice."""

    code = "CHOICE_NOT_NEEDED"


class ChoiceUnknown(BadRequest):
    """No item of this name; take one of the candidates or a name of GET /api/v1/scan/items."""

    code = "UNKNOWN_CATEGORY"
