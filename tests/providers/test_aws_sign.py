"""Signatures, compared with those of AWS's own SDK (botocore)."""

import datetime
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.provider import NO_SECRET, Secret
from hermod.providers.bedrock.sign import AwsCredentials, sign

NOW_S = 1_790_000_000
JSON = (("Content-Type", "application/json"),)
ADDED = ("X-Amz-Date", "X-Amz-Security-Token", "Authorization")


def theirs(
    method: str,
    url: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    credentials: AwsCredentials,
    region: str,
    service: str,
    now_s: int,
) -> dict[str, str]:
    """What botocore adds to the same request."""
    request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
    keys = Credentials(
        credentials.access_key,
        credentials.secret_key.reveal(),
        credentials.session_token.reveal() or None,
    )
    with pytest.MonkeyPatch.context() as patch:
        now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_: now)
        botocore.auth.SigV4Auth(keys, service, region).add_auth(request)
    found: dict[str, Any] = dict(request.headers.items())
    return {name: found[name] for name in ADDED if name in found}


def ours(
    method: str,
    url: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    credentials: AwsCredentials,
    region: str,
    service: str,
    now_s: int,
) -> dict[str, str]:
    made = sign(
        method, url, headers, body, credentials, region=region, service=service, now_s=now_s
    )
    return dict(made)


KEYS = AwsCredentials("AKIDEXAMPLE", Secret("an/example+secret"))
SESSION = AwsCredentials("ASIAEXAMPLE", Secret("another"), Secret("a//session+token=="))
RUNTIME = "https://bedrock-runtime.us-east-1.amazonaws.com"


@pytest.mark.parametrize("credentials", [KEYS, SESSION])
@pytest.mark.parametrize(
    ("method", "url", "headers", "body"),
    [
        ("POST", f"{RUNTIME}/model/anthropic.claude-3%3A0/converse", JSON, b"{}"),
        ("POST", f"{RUNTIME}/model/arn%3Aaws%3Abedrock%2Fx/converse-stream", JSON, "é".encode()),
        ("GET", f"{RUNTIME}/foundation-models?byProvider=amazon&a=2&a=1&b", (), b""),
        ("POST", "https://sts.eu-west-1.amazonaws.com/", (("content-type", "a;  b"),), b"A=1"),
        ("POST", "https://sts.eu-west-1.amazonaws.com", (), b"A=1"),
        ("POST", "http://127.0.0.1:8443/a//b/./c/../d/", JSON, b"\xff\x00"),
        ("POST", "https://[fd00:ec2::23]:443/x~y", JSON, b""),
        ("POST", "https://EXAMPLE.com:80/%7Euser/*", (("X-Amz-Target", "  a   b "),), b""),
    ],
)
def test_the_signature_is_botocores(
    method: str,
    url: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    credentials: AwsCredentials,
) -> None:
    request = (method, url, headers, body, credentials, "us-east-1", "bedrock", NOW_S)
    assert ours(*request) == theirs(*request)


segment = st.text("abcXYZ019-._~:@!$&'()*+,;=%/", min_size=0, max_size=30)
pair = st.tuples(st.text("abz09-_.~%", max_size=5), st.text("abz09-_.~%", max_size=5))


@settings(max_examples=50, deadline=None)
@given(
    path=segment,
    query=st.lists(pair, max_size=4),
    body=st.binary(max_size=100) | st.text(max_size=30).map(str.encode),
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "X-Amz-Target", "x-amz-meta-a"]),
        st.text("abc /;=\t", max_size=20),
    ),
    secret=st.text(min_size=1, max_size=40),
    token=st.text("abc+/=", max_size=40),
    region=st.sampled_from(["us-east-1", "eu-central-2", "cn-north-1"]),
    service=st.sampled_from(["bedrock", "sts"]),
    now_s=st.integers(0, 4_000_000_000),
)
def test_whatever_is_signed_is_signed_as_botocore_does(
    path: str,
    query: list[tuple[str, str]],
    body: bytes,
    headers: dict[str, str],
    secret: str,
    token: str,
    region: str,
    service: str,
    now_s: int,
) -> None:
    url = f"https://bedrock-runtime.{region}.amazonaws.com/{path}"
    if query:
        url += "?" + "&".join(f"{name}={value}" for name, value in query)
    credentials = AwsCredentials("AKID", Secret(secret), Secret(token) if token else NO_SECRET)
    request = ("POST", url, tuple(headers.items()), body, credentials, region, service, now_s)
    assert ours(*request) == theirs(*request)


def test_only_the_host_the_type_and_the_headers_of_aws_are_signed() -> None:
    headers = (*JSON, ("User-Agent", "x"), ("X-Request-Id", "1"), ("Via", "proxy"))
    added = ours("POST", f"{RUNTIME}/", headers, b"", SESSION, "us-east-1", "bedrock", NOW_S)
    assert (
        "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in added["Authorization"]
    )


def test_credentials_do_not_show_their_secrets() -> None:
    assert "another" not in repr(SESSION)
    assert "token==" not in repr(SESSION)
