"""Settings of auth-api."""

from datetime import timedelta
from pathlib import Path

from eco2.core.app import AppSettings
from eco2.core.settings import Duration, SettingsGroup


class TokenSettings(SettingsGroup):
    signing_keys_dir: Path
    """Folder of `<kid>.pem` RSA private keys; the newest signs, all of them verify."""
    issuer: str
    """`iss` of every token; the edge accepts no other."""
    access_ttl: Duration = timedelta(minutes=180)


class Settings(AppSettings, TokenSettings):
    pass
