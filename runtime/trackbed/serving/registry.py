"""The model registry, as an endpoint sees it: one read a poll, and a webhook."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

WEBHOOK_EVENTS = ("model_version_alias.created", "model_version_alias.deleted")


@dataclass(frozen=True)
class RegisteredState:
    """What the registry says of the model at one moment.

    Args:
        generation: when the registered model was created. A model that is deleted and made anew begins again at version
            1, so that a version number alone does not say which model it is.
        aliases: the version that each alias names.
        traffic: the text of the endpoint's traffic tag; None when it was never set.
        previous: the version that each alias named before, where it is known.
    """

    generation: int
    aliases: Mapping[str, str]
    traffic: str | None
    previous: Mapping[str, str] = field(default_factory=dict[str, str])


class Registry:
    """A client of the registry; its methods block, and the first takes seconds since it imports MLflow.

    Where it is and how to authenticate come from MLflow's own variables (MLFLOW_TRACKING_URI and so on).

    Args:
        model: name of the registered model.
        endpoint: name of the endpoint.
    """

    def __init__(self, model: str, endpoint: str) -> None:
        self._model = model
        self._endpoint = endpoint

    def read(self) -> RegisteredState:
        """Return the model's state; one without aliases when it is not registered (yet).

        Raises:
            Exception: the registry cannot be reached or refuses.
        """
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        from trackbed.models import PREVIOUS_TAG, TRAFFIC_TAG

        try:
            model = MlflowClient().get_registered_model(self._model)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return RegisteredState(0, {}, None)
            raise
        aliases = {alias: str(version) for alias, version in model.aliases.items()}
        return RegisteredState(
            generation=model.creation_timestamp or 0,
            aliases=aliases,
            traffic=model.tags.get(TRAFFIC_TAG + self._endpoint),
            previous={
                alias: model.tags[PREVIOUS_TAG + alias] for alias in aliases if PREVIOUS_TAG + alias in model.tags
            },
        )

    def remember_previous(self, alias: str, version: str) -> None:
        """Write down the version that an alias named before, for `trackbed rollback`.

        Raises:
            Exception: the registry cannot be reached or refuses.
        """
        from mlflow import MlflowClient

        from trackbed.models import PREVIOUS_TAG

        MlflowClient().set_registered_model_tag(self._model, PREVIOUS_TAG + alias, version)

    def register_webhook(self, url: str, secret: str) -> None:
        """Have the registry tell `url` of every alias that moves; may be repeated.

        Raises:
            Exception: the registry does not allow it (private addresses need MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS there).
        """
        from mlflow import MlflowClient

        client = MlflowClient()
        name = f"trackbed-{self._endpoint}"
        token = None
        while True:
            page = client.list_webhooks(max_results=100, page_token=token)
            for webhook in page:
                if webhook.name == name:
                    client.update_webhook(webhook.webhook_id, url=url, secret=secret, events=list(WEBHOOK_EVENTS))
                    return
            token = page.token
            if not token:
                break
        client.create_webhook(name=name, url=url, events=list(WEBHOOK_EVENTS), secret=secret)


def signature_matches(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether a webhook delivery is signed with the secret, compared in constant time.

    MLflow signs `<delivery id>.<timestamp>.<body>` by HMAC-SHA256 and sends `v1,<base64>`. A replayed delivery is
    harmless here, since all it does is to make the endpoint look at the registry, and so its age is not checked.

    Args:
        secret: the secret that the webhook was registered with.
        headers: the request's headers, by any case that the mapping understands.
        body: the body as it came.
    """
    scheme, _, given = headers.get("x-mlflow-signature", "").partition(",")
    if scheme != "v1":
        return False
    try:
        signature = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return False
    prefix = f"{headers.get('x-mlflow-delivery-id', '')}.{headers.get('x-mlflow-timestamp', '')}."
    expected = hmac.new(secret.encode(), prefix.encode() + body, hashlib.sha256).digest()
    return hmac.compare_digest(signature, expected)
