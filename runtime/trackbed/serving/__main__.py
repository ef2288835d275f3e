"""`python -m trackbed.serving`: serve one registered model.

Secrets come by variables, so that no process list shows them: TRACKBED_ENDPOINT_TOKEN (bearer token of callers) and
TRACKBED_WEBHOOK_SECRET (signs the registry's webhooks). The tracking server and its credentials come by MLflow's own
variables. Ends on SIGTERM with the requests that are on their way.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import warnings
from types import FrameType

import uvicorn

from trackbed.errors import UserError
from trackbed.models import parse_weights
from trackbed.serving.app import MAX_BODY_BYTES, MAX_WAITING, Endpoint, make_app
from trackbed.serving.follow import POLL_SECONDS, Follower
from trackbed.serving.metrics import Metrics
from trackbed.serving.predictors import Predictor, load_predictor
from trackbed.serving.registry import Registry
from trackbed.serving.revisions import Revision, Revisions

KEEP_ALIVE_SECONDS = 75  # longer than common clients and balancers keep an idle connection, so that they close it
GRACE_SECONDS = 30  # for requests that are on their way when the process is told to end


def main() -> None:
    """Serve until told to end."""
    options = _options()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # A registry that is down must not hold a poll for minutes: the next poll is the retry.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Models may behave differently when they serve; MLflow's own server says so by this variable.
    os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
    try:
        weights = parse_weights(options.traffic or ["champion=100"])
    except UserError as error:
        sys.exit(f"error: --traffic: {error}")
    registry = Registry(options.model, options.name)
    revisions = Revisions(options.model, weights, _close)

    def load(version: str) -> Predictor:
        return load_predictor(options.model, version)

    follower = Follower(registry.read, load, registry.remember_previous, revisions, weights, options.poll)
    endpoint = Endpoint(
        name=options.name,
        model=options.model,
        registry=registry,
        revisions=revisions,
        follower=follower,
        metrics=Metrics(revisions, follower),
        token=os.environ.pop("TRACKBED_ENDPOINT_TOKEN", None) or None,
        webhook_secret=os.environ.pop("TRACKBED_WEBHOOK_SECRET", None) or None,
        webhook_url=options.webhook_url or f"http://{options.host}:{options.port}/trackbed/webhook",
        max_body_bytes=options.max_body_bytes,
        max_waiting=options.max_waiting,
    )
    # uvicorn raises the signal again after its graceful end; an orderly end is no death by signal.
    signal.signal(signal.SIGTERM, _end)
    uvicorn.run(
        make_app(endpoint),
        host=options.host,
        port=options.port,
        loop="uvloop",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m trackbed.serving", description="Serve one registered model.")
    parser.add_argument("--name", required=True, help="name of the endpoint")
    parser.add_argument("--model", required=True, help="name of the registered model")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument(
        "--traffic",
        action="append",
        metavar="ALIAS=PERCENT",
        help="share of an alias, repeated for each (default: champion=100); a traffic tag of the model replaces it",
    )
    parser.add_argument(
        "--poll", type=float, default=POLL_SECONDS, metavar="SECONDS", help="how often aliases are read (%(default)s)"
    )
    parser.add_argument(
        "--max-body-bytes", type=int, default=MAX_BODY_BYTES, metavar="BYTES", help="largest body (%(default)s)"
    )
    parser.add_argument(
        "--max-waiting", type=int, default=MAX_WAITING, metavar="REQUESTS", help="most for one version (%(default)s)"
    )
    parser.add_argument("--webhook-url", help="where the tracking server reaches this process (default: host and port)")
    return parser.parse_args()


def _close(revision: Revision) -> None:
    threading.Thread(target=revision.predictor.close, daemon=True).start()


if __name__ == "__main__":
    main()
