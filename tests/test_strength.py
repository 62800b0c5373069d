"""Tokens and keys that everybody knows are refused, by the same rule for both; random ones and long words are not."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.authentication import authentication_of
from config import Settings
from errors import ConfigurationError
from strength import weakness
from tests.conftest import TOKEN

KNOWN = [
    "",
    "    " * 8,
    "fifteen-letters",
    " tooshortlonger ",
    "replace-me-with-32-random-characters",
    "Change.Me.Please.Now!",
    "please_change_this_token",
    "YOUR_AUTH_TOKEN_GOES_HERE",
    "<your token, sixteen letters>",
    "my-placeholder-value-1",
    "put-the-token-in-here",
    "todo: a token for us",
    "aaaaaaaaaaaaaaaa",
    "0000000000000000000000",
    "abababababababab",
    "hunter2hunter2hunter2",
    "Tr0ub4dor-Tr0ub4dor-Tr0ub4dor",
    "abcdefghijklmnop",
    "ABCDEFGHijklmnop",
    "0123456789012345",
    "1234567890123456",
    "9876543210987654",
    "zyxwvutsrqponmlkji",
    "0123456789abcdef0123456789abcdef",
    "abcdefgh12345678",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "a1b2c3d4e5f6g7h8",
    "aabbccddeeffgghhii",
    "qwertyuiopasdfgh",
    "1q2w3e4r5t6y7u8i",
]
GOOD = [
    TOKEN,
    "correct horse battery staple",
    "an-id-agreed-upon-by-both",
    "d41d8cd98f00b204e9800998ecf8427e",
    "token-of-the-limited-one",
    "changed-mes-amis-forty-two",
    "exchange-items-offset-a-dozen",
    "ours-tokens-where-they-are",
    "a-key-that-replicas-share-0123456789",
]


@pytest.mark.parametrize("variable", ["MCP_AUTH_TOKEN", "AUDIT_HMAC_KEY"])
@pytest.mark.parametrize("value", KNOWN)
def test_what_everybody_knows_is_no_token_and_no_key(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({variable: value})
    assert refused.value.message.startswith(variable)
    assert value.strip() == "" or value.strip() not in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("value", GOOD)
def test_a_phrase_is_one(value: str) -> None:
    assert weakness(value) is None


MAKERS: list[Callable[[int], str]] = [lambda _: secrets.token_hex(16), lambda _: secrets.token_urlsafe(16)]


@given(st.sampled_from(MAKERS))
def test_what_is_random_is_one(make: Callable[[int], str]) -> None:
    assert weakness(make(0)) is None


def test_the_key_is_no_callers_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({"MCP_AUTH_TOKEN": TOKEN, "AUDIT_HMAC_KEY": TOKEN})
    assert "AUDIT_HMAC_KEY" in refused.value.message
    file = tmp_path / "callers.toml"
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    file.write_text(f'[callers.jo]\ntoken_sha256 = "{digest}"\nscopes = ["read"]\n')
    settings = Settings.from_environment({"MCP_CALLERS_FILE": str(file), "AUDIT_HMAC_KEY": TOKEN})
    with pytest.raises(ConfigurationError) as refused:
        authentication_of(settings)
    assert "AUDIT_HMAC_KEY" in refused.value.message
    assert TOKEN not in refused.value.message
