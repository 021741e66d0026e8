"""Settings of image-api."""

from eco2.core.settings import AppSettings, DatabaseSettings, StorageSettings, UploadSettings
from eco2.photos.settings import PhotoSettings


class Settings(AppSettings, DatabaseSettings, StorageSettings, UploadSettings, PhotoSettings):
    pass
