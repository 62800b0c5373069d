"""Which keys of a JSON secret are plainly names, and may be told to who may not see its values."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_MOST_DIGITS = 3
# How issuers mark what they issue: AWS's keys and ids, tokens of GitHub, GitLab, Slack, Stripe and others, JWTs.
_CREDENTIALS = (
    "AKIA", "ASIA", "ABIA", "ACCA", "AIDA", "AROA", "ANPA", "APKA", "AIza", "ya29.", "GOCSPX-", "eyJ",
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-", "glptt-", "glsa_", "gloas-",
    "xoxa-", "xoxb-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-",
    "sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_", "whsec_", "sk-", "SG.",
    "npm_", "pypi-", "rubygems_", "dckr_pat_", "dckr_oat_", "hf_", "hvs.", "hvb.", "hvr.", "atlasv1.",
    "dop_v1_", "doo_v1_", "dor_v1_", "shpat_", "shpca_", "shppa_", "shpss_", "sq0atp-", "sq0csp-", "EAAA",
    "lin_api_", "ntn_", "sntrys_", "sntryu_", "pat-na", "NRAK-", "PMAK-", "tfp_", "pul-",
    "AGE-SECRET-KEY-", "ATATT", "ATCTT", "CFPAT-", "rdme_", "dp.st.", "dp.pt.", "ops_ey", "oy2", "LTAI", "r8_", "figd_",
)  # fmt: skip


def looks_like_a_name(key: str) -> bool:
    """Tell whether a key is a name, and no credential that stands where a name belongs."""
    digits = sum(character.isdigit() for character in key[:65])
    return bool(_NAME.fullmatch(key)) and digits <= _MOST_DIGITS and not key.startswith(_CREDENTIALS)
