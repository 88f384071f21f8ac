"""llama.cpp's HTTP server, in an environment of its own: `python llama_server.py MODEL API_KEY`.

Prints a line of JSON with its address and version, then serves until its standard input ends, so it
never outlives who started it.
"""

import importlib
import json
import sys
from typing import Any

CONTEXT = 8192
"""Tokens. An embedding must fit into one batch of the same size."""


def main() -> None:
    """Serve a model file to whoever knows the key."""
    path, api_key = sys.argv[1:]
    # By name: it is not installed where this file is type-checked.
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {"tiny-random"}
    params.api_keys = [api_key]
    params.port = 0
    params.endpoint_metrics = True
    params.verbosity = 1
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT
    # A thread belongs to a connection, even to an idle one, for 5 s: with fewer threads than
    # connections some requests wait that long.
    params.n_threads_http = 64
    # One request at a time on one thread, and nothing kept between requests: the same input then
    # gives the same answer to the last bit. In batches of several requests it does not.
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.cache_prompt = False
    params.cache_ram_mib = 0
    server = xllamacpp.Server(params)
    about = {"address": server.listening_address, "version": xllamacpp.__version__}
    sys.stdout.write(json.dumps(about) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
