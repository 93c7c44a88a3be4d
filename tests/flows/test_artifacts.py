"""What Prefect's UI says of the model that made a forecast."""

import pytest

from flows.artifacts import model_of
from pipelines.operation.products.attributes import ForecastAttributes


@pytest.mark.parametrize(
    ("uri", "version", "shown"),
    [
        (
            "models:/radar-nowcast@champion",
            "2",
            "[radar-nowcast version 2](http://127.0.0.1:5000/#/models/radar-nowcast/versions/2)",
        ),
        ("/srv/models/rain", "2-5ac171ef", "radar-nowcast version 2-5ac171ef"),  # this server may have another 2
        ("models:/m-0a1b2c", "none", "radar-nowcast version none"),
    ],
)
def test_a_link_leads_to_a_version_of_this_registry(
    monkeypatch: pytest.MonkeyPatch, uri: str, version: str, shown: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000/")
    rest = dict.fromkeys(
        ("title", "source", "method", "model_sha256", "code_commit", "live_store_snapshot", "input_frames"), "none"
    )
    attributes = ForecastAttributes.model_validate(
        rest | {"model_uri": uri, "model_name": "radar-nowcast", "model_version": version}
    )
    assert model_of(attributes).replace("\\", "") == shown
