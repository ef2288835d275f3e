"""Send held-out images to the serving endpoint, and print its answers beside the true labels.

trackbed run predict.py                      asks the endpoint `digits` of the environment
trackbed run predict.py --url http://...     asks another one
"""

import argparse
import os
import sys

import mlflow
import requests
from requests.adapters import HTTPAdapter, Retry

SHOWN = 10  # answers printed one by one
SHADES = " .:-=+*#%@"  # for pixels from 0 (white) to 16 (black)


def main() -> None:
    """Ask the endpoint and print what it answered."""
    parser = argparse.ArgumentParser(description="Ask the endpoint for the digits in held-out images.")
    parser.add_argument("--url", default=os.environ.get("TRACKBED_ENDPOINT_DIGITS_URL"), help="of the endpoint")
    parser.add_argument("--model", default="models:/digits@champion", help="whose held-out images to send")
    arguments = parser.parse_args()
    if not arguments.url:
        parser.error("there is no endpoint named digits in this environment; give the address of another with --url")

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    images, labels = held_out(arguments.model)
    predictions = ask(arguments.url, images)
    print(picture(images[0]))
    answers = list(zip(predictions, labels, strict=True))
    for prediction, label in answers[:SHOWN]:
        print(f"predicted {prediction}, true label {label}{'' if prediction == label else '   <- wrong'}")
    right = sum(prediction == label for prediction, label in answers)
    print(f"{right} of {len(labels)} held-out images are right ({right / len(labels):.2%}), asked at {arguments.url}")


def held_out(model: str) -> tuple[list[list[float]], list[int]]:
    """Return the images that the model was judged on, and their labels."""
    try:
        run = mlflow.models.get_model_info(model).run_id
    except mlflow.MlflowException as error:
        sys.exit(f"there are no held-out images of {model} yet, run flow.py first ({error})")
    saved = mlflow.artifacts.load_dict(f"runs:/{run}/held_out.json")
    return saved["images"], saved["labels"]


def ask(url: str, images: list[list[float]]) -> list[int]:
    """Return the endpoint's predictions; one that is still loading its model is asked again for a while."""
    session = requests.Session()
    session.mount(
        url, HTTPAdapter(max_retries=Retry(8, backoff_factor=0.3, status_forcelist=[503], allowed_methods=None))
    )
    if token := os.environ.get("TRACKBED_ENDPOINT_DIGITS_TOKEN"):
        session.headers["Authorization"] = f"Bearer {token}"
    answer = session.post(f"{url}/invocations", json={"inputs": images}, timeout=60)
    answer.raise_for_status()
    return answer.json()["predictions"]


def picture(image: list[float]) -> str:
    """Draw an image of 8 by 8 pixels with characters."""
    shades = [SHADES[round(pixel / 16 * (len(SHADES) - 1))] * 2 for pixel in image]
    return "\n".join("".join(shades[row : row + 8]) for row in range(0, 64, 8))


if __name__ == "__main__":
    main()
