"""Settings of the processes that decode photos."""

from datetime import timedelta

from pydantic import Field

from eco2.core.settings import Duration, SettingsGroup


class PhotoSettings(SettingsGroup):
    photo_decoders: int = Field(default=2, ge=1)
    """Decoding processes, each for one photo at a time. Where there are several, one user has at most all but one."""
    photo_seconds: Duration = Field(default=timedelta(seconds=5), ge=timedelta(milliseconds=100))
    """CPU time a photo may take; its process is then killed. One that stands still is killed after three times that."""
    photo_megabytes: int = Field(default=512, ge=64)
    """Memory that a photo may take in its decoding process."""


class RetentionSettings(SettingsGroup):
    photo_retention: Duration = timedelta(hours=23)
    """Age at which the hourly cleanup deletes an upload, or a public photo that nothing names."""
