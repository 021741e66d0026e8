"""Settings of image-api."""

from eco2.core.app import AppSettings
from eco2.core.settings import DatabaseSettings, StorageSettings


class Settings(AppSettings, DatabaseSettings, StorageSettings):
    pass
