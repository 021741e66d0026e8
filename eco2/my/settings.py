"""Settings of my-api."""

from eco2.core.app import AppSettings
from eco2.core.settings import DatabaseSettings


class Settings(AppSettings, DatabaseSettings):
    pass
