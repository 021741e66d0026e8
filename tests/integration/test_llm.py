"""Names that tests import from here; the tests of the paid model stand in `paid_model`. Goes when none does."""

from tests.integration.paid_model.conftest import MODEL, Emulator, emulated

_emulator = emulated

__all__ = ["MODEL", "Emulator", "_emulator"]
