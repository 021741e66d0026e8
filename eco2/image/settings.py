"""Settings of image-api."""

from eco2.core.settings import AppSettings, DatabaseSettings, StorageSettings


class Settings(AppSettings, DatabaseSettings, StorageSettings):
    pass
