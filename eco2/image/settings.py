"""Settings of image-api."""

from eco2.core.settings import AppSettings, DatabaseSettings, StorageSettings, UploadSettings


class Settings(AppSettings, DatabaseSettings, StorageSettings, UploadSettings):
    pass
