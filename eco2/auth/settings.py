"""Settings of auth-api."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from eco2.contracts.identity import LONGEST_ACCESS_SECONDS, LONGEST_REFRESH_SECONDS
from eco2.core.settings import (
    AppSettings,
    BrokerSettings,
    CacheSettings,
    CookieSettings,
    DatabaseSettings,
    Duration,
    SettingsGroup,
    StreamsSettings,
)

NATIVE_REDIRECT = re.compile(
    r"(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/"
    r"|http://(127\.0\.0\.1|\[::1\])/"
    r"|(?!https?:)[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:/)"
    r"[A-Za-z0-9._~/-]*"
)
"""RFC 8252: claimed https, loopback, or a scheme of a domain turned round, so that two apps do not take the same."""


class TokenSettings(SettingsGroup):
    signing_keys_dir: Path
    """Folder of `<kid>.pem` RSA private keys: all of them verify; which one signs is decided by `key_lead`."""
    issuer: str
    """`iss` of every token; the edge accepts no other."""
    access_ttl: Duration = Field(default=timedelta(minutes=180), le=timedelta(seconds=LONGEST_ACCESS_SECONDS))
    refresh_ttl: Duration = Field(default=timedelta(days=30), le=timedelta(seconds=LONGEST_REFRESH_SECONDS))
    key_lead: Duration = timedelta(minutes=10)
    """A new key signs when it has been published for so long; the edge reads the published keys every minute."""


class ProviderSettings(SettingsGroup):
    """Ids and secrets that the providers gave to this platform. A provider without an id is not offered."""

    kakao_client_id: str | None = None
    kakao_client_secret: str | None = None
    google_client_id: str | None = None
    google_client_secret: str | None = None
    naver_client_id: str | None = None
    naver_client_secret: str | None = None
    oauth_emulator_url: str | None = None
    """Emulated providers stand in for those without an id. Any visitor can sign in as any user there: only locally."""
    oauth_timeout: Duration = timedelta(seconds=5)
    """For each wait on a provider; a sign-in has twice as much for its two calls."""


class Settings(
    AppSettings,
    CookieSettings,
    TokenSettings,
    ProviderSettings,
    DatabaseSettings,
    StreamsSettings,
    CacheSettings,
    BrokerSettings,
):
    public_url: str
    """Base URL of the API as browsers reach it; `<public_url>/api/v1/auth/<provider>/callback` is a redirect target."""
    redirect_urls: tuple[str, ...] = ()
    """Other base URLs of the API whose callbacks are allowed."""
    frontend_url: str
    """The web app; sign-ins that name no other end there. Others have to be among `cors_origins`."""
    native_redirect_uris: tuple[str, ...] = ()
    """Addresses at which a sign-in of a native app may end: https addresses that the app claims,
    `http://127.0.0.1/path` or `http://[::1]/path` (any port), or an address of the app's own scheme, which has a dot
    (`kr.example.app:/path`)."""
    grpc_my_api: str
    """`host:port` of the UsersService."""
    refresh_grace: Duration = timedelta(seconds=60)
    """Time in which an old refresh token still gives the pair that replaced it: for requests that were under way, and
    for answers that were lost."""
    state_ttl: Duration = timedelta(minutes=10)
    audit_kept: Duration = timedelta(days=90)
    sign_ins_per_minute: int = Field(default=30, ge=1)
    """Starts of one browser, and callbacks of one start."""
    sign_ins_per_minute_of_network: int = Field(default=600, ge=1)
    """Starts from one IPv4 address or IPv6 /64, which a school or an office has in common; as many callbacks that
    belong to no start."""
    refreshes_per_minute: int = Field(default=30, ge=1)
    """Of one session."""
    guest_ttl: Duration = Field(default=timedelta(hours=24), ge=timedelta(minutes=1), le=timedelta(hours=24))
    """Life of a guest's session; a refresh does not prolong it."""
    guest_difficulty: int = Field(default=16, ge=0, le=28)
    """Zero bits that the proof of work of a guest begins with: each one more doubles the work."""
    guest_challenge_ttl: Duration = Field(default=timedelta(seconds=120), ge=timedelta(seconds=10))
    guests_per_minute_of_network: int = Field(default=300, ge=1)
    """Challenges, and again guests, of one IPv4 address or IPv6 /64, which a school or an office has in common."""
    guests_per_day_of_browser: int = Field(default=30, ge=1)
    """A browser that keeps its cookies needs one."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.oauth_emulator_url and self.environment != "local":
            raise ValueError("oauth_emulator_url: emulated providers let anybody in; only for the local environment")
        for url in (self.public_url, self.frontend_url, *self.redirect_urls):
            if urlsplit(url).scheme not in ("http", "https") or url.endswith("/"):
                raise ValueError(f"{url!r} is not of the form https://host")
        for uri in self.native_redirect_uris:
            if not NATIVE_REDIRECT.fullmatch(uri):
                raise ValueError(f"native_redirect_uris: {uri!r} is no address of a native app")
        return self

    @property
    def over_https(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def origins(self) -> frozenset[str]:
        """Addresses at which a sign-in may end, and pages that may use the cookies."""
        return frozenset((self.frontend_url, *self.cors_origins, *self.redirect_bases))

    @property
    def redirect_bases(self) -> tuple[str, ...]:
        return (self.public_url, *self.redirect_urls)
