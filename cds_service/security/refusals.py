"""Why a call is refused: one reason for each cause, with words for the operator; the caller is never told which.

The id of a reason stands in the log (`refusal`), in the metrics as a label, and in what `cds-service check-jwt`
says. CDS Hooks 2.0, Trusting CDS Clients: the answer to an invalid token is 401 without details.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """A cause of refusal: its id, what is wrong, and what the operator can do."""

    id: str
    wrong: str
    hint: str


_CLIENT_SENDS = "The EHR has to send it; ask its vendor which setting fills this claim."
_SECONDS = "It is a number of seconds since 1970 (RFC 7519, NumericDate)."

_TABLE = (
    # -- the header that brings the token
    Reason("token_missing", "no Authorization header", "Turn on tokens for CDS Hooks in the EHR."),
    Reason(
        "token_scheme", "not one 'Bearer' token of three parts", "Send one header 'Authorization: Bearer <token>'."
    ),
    Reason("token_too_long", "the token is longer than 16 KiB", "Leave certificates and other extras out of it."),
    Reason("token_unreadable", "header or claims are no JSON object in base64url", "Send a signed JWT (RFC 7519)."),
    # -- the token's header
    Reason(
        "algorithm_forbidden",
        "alg is missing, none, symmetric or unknown",
        "Sign with ES384 or RS384; unsigned and HMAC tokens are never accepted.",
    ),
    Reason(
        "algorithm_not_listed", "alg is not among the client's algorithms", "Add it to [clients.NAME] algorithms."
    ),
    Reason("key_embedded", "the header brings its own key (jwk)", "Publish the key in the JWK Set instead."),
    Reason("header_critical", "the header has crit: extensions that must be understood", "Leave crit and b64 out."),
    Reason("kid_missing", "the header has no kid", "Name the key of the JWK Set that signed the token."),
    Reason(
        "jku_foreign",
        "jku is not the configured jwks_url",
        "If it is the EHR's true address, set [clients.NAME] jwks_url to it, letter by letter.",
    ),
    # -- the claims
    Reason("iss_missing", "no iss", _CLIENT_SENDS),
    Reason("iss_malformed", "iss is no text", "iss is one text, the same as [clients.NAME] issuer."),
    Reason("iss_unknown", "no client has this issuer", "Set [clients.NAME] issuer to iss, letter by letter."),
    Reason("tenant_wrong", "tenant is missing or another", "Compare it with [clients.NAME] tenant."),
    Reason("aud_missing", "no aud", _CLIENT_SENDS),
    Reason("aud_malformed", "aud is neither a text nor a list of texts", "aud is the address that is called."),
    Reason(
        "aud_wrong",
        "aud is not the address that was called",
        "aud must be that address under [server] public_url, letter by letter; each service has its own.",
    ),
    Reason("exp_missing", "no exp", _CLIENT_SENDS),
    Reason("exp_malformed", "exp is no number", _SECONDS),
    Reason("exp_past", "the token has expired", "Compare the clocks of both machines (NTP)."),
    Reason("iat_missing", "no iat", _CLIENT_SENDS),
    Reason("iat_malformed", "iat is no number", _SECONDS),
    Reason("iat_future", "the token was issued in the future", "Compare the clocks of both machines (NTP)."),
    Reason("nbf_malformed", "nbf is no number", _SECONDS),
    Reason("nbf_future", "the token is not valid yet", "Compare the clocks of both machines (NTP)."),
    Reason("lifetime_too_long", "exp is more than an hour after iat", "Issue tokens for one call: five minutes."),
    Reason("jti_missing", "no jti", _CLIENT_SENDS),
    Reason("jti_malformed", "jti is no printable text of 1 to 255 characters", "jti is a new UUID for each token."),
    # -- the key and the signature
    Reason(
        "keys_unavailable",
        "the client's keys could not be read, and none are kept",
        "Read the log for 'keys'; open jwks_url from this machine, or look at jwks_file.",
    ),
    Reason(
        "kid_unknown",
        "the JWK Set has no key of this kid",
        "Compare kid with the JWK Set. A new key is looked for at most every 30 seconds.",
    ),
    Reason("key_unfit", "the key of this kid is for another algorithm", "Compare its kty, crv and alg with alg."),
    Reason("signature_wrong", "the signature is not that of the key", "Somebody changed the token or forged it."),
    # -- once only
    Reason("jti_used", "a token of this jti was here before", "Make a new token, with a new jti, for each call."),
    Reason(
        "replay_unknown",
        "the database did not answer whether the jti was used",
        "Look at the database; while it is down, nobody is let in.",
    ),
)

REASONS = {reason.id: reason for reason in _TABLE}
"""By id, in the order in which they are looked for."""


class RefusedError(Exception):
    """The call is not served. `client`: the configured client that it claims to come from, '' if none."""

    def __init__(self, reason: str, client: str = "") -> None:
        super().__init__(reason)
        self.reason = REASONS[reason].id
        self.client = client
