"""The page on callers says what the program does."""

import re
from pathlib import Path

import pytest

from hermod.domain.governance import VirtualKey
from tests.support.config import read

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "callers.md"
SNIPPETS = re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
ENVIRON = {
    "HERMOD_ADMIN_TOKEN": "an-admin-token-of-some-length",
    "WEB_KEY": "sk-bf-11111111-2222-3333-4444-555555555555",
    "OPENAI_API_KEY": "sk-1",
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "ADMIN_PASSWORD": "long enough",
}


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_configuration_of_the_page_is_accepted_without_a_word(
    tmp_path: Path, snippet: str
) -> None:
    loaded = read(tmp_path, snippet, ENVIRON)
    assert (loaded.warnings, loaded.ignored) == ((), ())


def test_between_them_they_have_keys_tokens_and_an_admin(tmp_path: Path) -> None:
    found = [read(tmp_path, snippet, ENVIRON).settings for snippet in SNIPPETS]
    assert any(isinstance(each, VirtualKey) for one in found for each in one.governance)
    assert sum(len(one.auth.jwt_issuers) for one in found) == 2
    assert any(one.auth.admin_enabled for one in found)
    assert any(one.enforced for one in found)
