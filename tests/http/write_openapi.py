"""`python -m tests.http.write_openapi`: write what `/openapi.json` answers to docs/reference."""

import asyncio
import tempfile
from pathlib import Path

from tests.support.inprocess import gateway

CHECKED_IN = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"


async def served() -> bytes:
    """The document of a gateway as it is when nothing is configured."""
    with tempfile.TemporaryDirectory() as app_dir:
        async with gateway(Path(app_dir)) as running:
            return (await running.http.get("/openapi.json")).content


if __name__ == "__main__":
    CHECKED_IN.write_bytes(asyncio.run(served()))
