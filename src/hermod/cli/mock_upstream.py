"""`hermod mock-upstream`: an OpenAI-shaped server that calls nobody."""

from pathlib import Path

import click

from hermod import mock_upstream as server
from hermod.cli.complaint import complaint
from hermod.clock import SystemClock

_SHARE = click.FloatRange(0, 1)


@click.command("mock-upstream")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=9000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0 takes a free one.",
)
@click.option(
    "--latency-ms",
    default=50.0,
    show_default=True,
    type=click.FloatRange(0, 86_400_000, max_open=True),
    help="Time to an answer.",
)
@click.option(
    "--latency",
    metavar="lognormal:P50,P99",
    help="Drawn times instead: median and 99th percentile in milliseconds.",
)
@click.option("--error-rate", default=0.0, type=_SHARE, help="Share of calls answered 500.")
@click.option(
    "--rate-limit-rate",
    default=0.0,
    type=_SHARE,
    help="Share of calls answered 429 with Retry-After: 1.",
)
@click.option(
    "--reply-bytes",
    default=0,
    type=click.IntRange(0, 100_000_000),
    help="Size of the canned text, of an audio or an image, for a reply other than 1.4 KB.",
)
@click.option("--echo/--canned", default=False, help="Answer the text that came, or a fixed one.")
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append a line of JSON per received call, and one when it ends.",
)
@click.option("--seed", default=0, help="Of the dice for errors and latencies.")
def mock_upstream(
    host: str,
    port: int,
    latency_ms: float,
    latency: str | None,
    error_rate: float,
    rate_limit_rate: float,
    reply_bytes: int,
    echo: bool,
    record: Path | None,
    seed: int,
) -> None:
    """An OpenAI-shaped server for demos, tests and benchmarks.

    It answers chats, texts, responses, embeddings, speech, transcriptions, images, rerank and OCR,
    as a stream where a request asks for one. The models of the mock provider (hello, echo,
    slow?seconds=8, flaky, 429, error, tool, stream?chunks=20&pause=0.05, …) behave as they do in
    the gateway; every other name gets a canned text. GET /v1/models lists them, GET /stats counts
    the calls.

    \b
    hermod mock-upstream --port 9000 --latency-ms 800
    OPENAI_API_KEY=any hermod serve   # with base_url http://127.0.0.1:9000 for openai
    """
    settings = server.UpstreamSettings(
        latency=latency or str(latency_ms),
        error_rate=error_rate,
        rate_limit_rate=rate_limit_rate,
        reply_bytes=reply_bytes,
        echo=echo,
        record=record,
        seed=seed,
    )
    try:
        server.run(settings, host, port, SystemClock(), _announce)
    except (ValueError, OSError) as wrong:
        raise click.ClickException(complaint(wrong)) from wrong


def _announce(address: str) -> None:
    # `click.echo` flushes: whoever started us reads this line from a pipe.
    click.echo(f"mock upstream on {address}")
