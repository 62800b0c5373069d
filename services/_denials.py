"""What AWS's words in a denial say: who, what, on which resource, and what kind of policy decided; one reader for all.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# The kinds of policy that a denial points at, and what to do where one has no Allow.
_MISSING_ALLOW = {
    "service control policy": "the organization's administrator can allow it in the policies above the account",
    "resource control policy": "the organization's administrator can allow it in the policies above the resource",
    "permissions boundary": "allow it in the boundary as well, or use another role",
    "session policy": "assume the role with a session policy that allows it, or with none",
    "VPC endpoint policy": "allow it in the endpoint's policy",
    "resource-based policy": "change the resource's own policy to allow the principal the action",
    "identity-based policy": "attach or extend a policy that allows the action on the resource",
    "role trust policy": "change the role's trust policy to admit the principal",
}
_OF_THE_ORGANIZATION = ("service control policy", "resource control policy")
_KIND = "|".join(kind.replace(" ", r"\s+") for kind in _MISSING_ALLOW)
_DENIES = re.compile(rf"explicit\s+deny(?:\s+in\s+(?:an?|the)\s+(?P<kind>{_KIND})(?::\s*(?P<policy>arn:\S+))?)?", re.I)
_LACKS = re.compile(rf"\bno\s+(?P<kind>{_KIND})\s+allows", re.I)
_BECAUSE = re.compile(r"\bbecause\s+(?P<words>[^\n(]{3,300})")
_ENCODED = re.compile(r"encoded\s+authorization\s+failure\s+message:\s*(?P<message>[\w-]+)", re.I)
_NOT_AUTHORIZED = re.compile(r"not\s+authorized\s+to\s+(?:perform:?|access\s+this\s+resource)", re.I)
_ACTION = re.compile(r"\s*[`'\"\[]?(?P<action>[\w-]+:[\w*]+)[`'\"\]]?")
_RESOURCE = re.compile(r"\s+on\s+(?:the\s+)?resources?:?\s+")
_REASON_BEGINS = re.compile(r"\s(?:because\s|with\s+an\s+explicit\s+deny)")
_LONGEST_ARN = 2_100
_QUOTES, _CLOSING = "`'\"", {"`": "`'", "'": "'", '"': '"'}
_CIPHERTEXT = re.compile(r"associated\s+with\s+this\s+ciphertext|does\s+not\s+exist\s+in\s+this\s+region", re.I)


@dataclass(frozen=True)
class Denial:
    """A denial as far as its words go.

    Attributes:
        principal: An ARN, or "anonymous".
        resource: As it is named, be it an ARN or not.
        kind: Of policy, where the words name one; `policy` is its ARN.
        explicit_deny: Whether a Deny decided (True) or the lack of an Allow (False); None where nobody says.
        unreachable: Whether AWS says only that the resource is elsewhere, or its policy does not let the principal in.
        words: AWS's own reason, where it names no kind of policy.
    """

    principal: str | None = None
    action: str | None = None
    resource: str | None = None
    kind: str | None = None
    policy: str | None = None
    explicit_deny: bool | None = None
    unreachable: bool = False
    words: str | None = None

    @property
    def says_anything(self) -> bool:
        """Whether there is anything to explain."""
        return self != Denial()

    def reason(self) -> tuple[str, str] | None:
        """Return the likely reason and what to do about it, where the words tell; None where they do not."""
        if self.principal == "anonymous":
            return (
                "the request was not signed, so it counts as anybody's, and nothing lets anybody in",
                "sign the request with credentials of a principal that the resource's own policy lets in",
            )
        if self.kind is not None and self.explicit_deny:
            return f"{_article(self.kind)} {self.kind} denies it explicitly", self._without_the_deny(self.kind)
        if self.kind is not None:
            return f"no {self.kind} allows it", _MISSING_ALLOW[self.kind]
        return self._reason_of_its_own()

    def _without_the_deny(self, kind: str) -> str:
        named = f" ({self.policy})" if self.policy else ""
        if kind in _OF_THE_ORGANIZATION:
            return f"the organization's administrator can find that Deny{named} and remove or narrow it"
        return f"find that Deny in the {kind}{named} and remove or narrow it; no Allow outweighs a Deny"

    def _reason_of_its_own(self) -> tuple[str, str] | None:
        if self.action in ("sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML"):
            claims = "`sub` and `aud`" if self.action.endswith("WebIdentity") else "its attributes"
            return (
                f"the role's trust policy does not admit the token: its provider, {claims} are to be what it names",
                "compare the token's claims with the role's trust policy, to the letter; see get_role",
            )
        if self.unreachable and str(self.action).startswith("kms:"):
            return (
                "the key's policy does not let the principal in or denies it, or the key is in another region",
                "look at the key's policy, and whether the key is in the region that was asked",
            )
        if self.unreachable:
            return (
                "the resource's own policy does not let the principal in or denies it, or it is in another region",
                "look at the resource's own policy, and whether it is in the region that was asked",
            )
        if self.words is not None:
            return f"AWS says: {self.words}", "change what AWS names there; no policy of the identity decided"
        return None


def encoded_in(text: str) -> str | None:
    """Return the encoded part of a denial's text."""
    return match["message"] if (match := _ENCODED.search(text)) else None


def read_denial(text: str) -> Denial:
    """Return what a denial's text says; of several denials in it the first that names an action."""
    text = text.replace('\\"', '"')  # as it stands in a log of JSON
    phrases = list(_NOT_AUTHORIZED.finditer(text))
    starts, ends = [phrase.start() for phrase in phrases], [phrase.end() for phrase in phrases]
    parts = [
        (text[max(start - _LONGEST_ARN, 0) : start], text[end:following])
        for start, end, following in zip(starts, ends, [*starts[1:], len(text)], strict=False)
    ]
    before, after = next((part for part in parts if _ACTION.match(part[1])), parts[0] if parts else ("", text))
    action = _ACTION.match(after) if parts else None
    rest = after[action.end() :] if action else after
    return Denial(
        principal=_principal(before),
        action=action["action"] if action else None,
        resource=_resource(rest) if action else None,
        **_reason_in(rest),
    )


def _principal(before: str) -> str | None:
    words = before.split()
    while words and words[-1].lower() in ("is", "was"):
        words.pop()
    name = words[-1].strip(f"{_QUOTES}(),;") if words else ""
    if name.lower() == "anonymous":
        return "anonymous"
    return name if name.startswith("arn:") else None


def _resource(rest: str) -> str | None:
    begins = _RESOURCE.match(rest)
    if begins is None or _CIPHERTEXT.match(rest, begins.end()):
        return None
    named = rest[begins.end() :]
    reason = _REASON_BEGINS.search(named)
    if named[:1] in _CLOSING:
        return _quoted(named, reason.start() if reason else None)
    if reason and re.match(r"arn:[\w-]+:s3:", named) and "\n" not in named[: reason.start()]:
        return named[: reason.start()].rstrip(".,; ")  # a key may hold spaces
    word = named.split(None, 1)[0].rstrip(f".,;:){_QUOTES}") if named.split() else ""
    return word or None


def _quoted(named: str, reason: int | None) -> str | None:
    """Return what stands in quotes: up to the one before the reason, else to the first that closes."""
    closing = _CLOSING[named[0]]
    if reason is not None and named[reason - 1] in closing:
        return named[1 : reason - 1] or None
    end = min((at for quote in closing if (at := named.find(quote, 1)) > 0), default=len(named))
    return named[1:end] or None


def _reason_in(rest: str) -> dict[str, Any]:
    if denies := _DENIES.search(rest):
        policy = denies["policy"].rstrip(".,;)") if denies["policy"] else None
        return {"kind": _known(denies["kind"]), "policy": policy, "explicit_deny": True}
    if lacks := _LACKS.search(rest):
        return {"kind": _known(lacks["kind"]), "explicit_deny": False}
    if _CIPHERTEXT.search(rest):
        return {"unreachable": True}
    words = _BECAUSE.search(rest)
    return {"words": words["words"].strip(" .")} if words else {}


def _known(kind: str | None) -> str | None:
    """Return a kind of policy as it is spelled here."""
    plain = " ".join(kind.split()).lower() if kind else None
    return next((known for known in _MISSING_ALLOW if known.lower() == plain), None)


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"
