"""Whether the service may start without asking who calls: on loopback, or if the site says so."""

from __future__ import annotations

from cds_service.settings import Settings, SettingsError

WILDCARDS = ("0.0.0.0", "::")


def openness(settings: Settings) -> tuple[str, ...]:
    """What whoever starts the service must be warned of. Raises SettingsError if it may not start like this."""
    if settings.clients:
        if settings.host in WILDCARDS and not settings.public_url:
            raise SettingsError(
                [
                    "server.public_url: missing; clients sign the address that they call, "
                    f"and nobody calls http://{settings.host}"
                ]
            )
        if settings.report_only:
            return ("auth.report_only is true: calls that should be refused are served and only logged",)
        return ()
    if settings.on_loopback:
        if settings.public_url and not settings.allow_unauthenticated:
            return ("server.public_url is set and no [clients.NAME]: whoever reaches that address is served",)
        return ()
    if settings.allow_unauthenticated:
        return ("server.allow_unauthenticated is true: whoever reaches this address is served, without a token",)
    raise SettingsError(
        [
            f"server.host: {settings.host} is not loopback, and nobody is asked for a token; "
            "add [clients.NAME] with issuer and jwks_url for each EHR, or listen on 127.0.0.1, "
            "or set server.allow_unauthenticated = true"
        ]
    )
