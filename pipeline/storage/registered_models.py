"""Checkpoints of an MLflow model registry (extra `mlflow`).

    mlflow:models:/topics@champion    the version that an alias names now
    mlflow:models:/topics/7           a version
    mlflow:runs:/<run id>/<path>      what a run logged

Where the registry is, MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI say, as everywhere in MLflow. An alias is resolved
once, when a run is planned: what workers are told is a version's own place, which they read without MLflow where a
store of ours reaches it.
"""

import contextlib
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import AccessError, CheckpointError, ConfigError, RookeryError, StorageError
from pipeline.identity import digest

REGISTRY = "mlflow:"
VERSION = re.compile(r"models:/([^/@]+)/(\d+)")
ALIAS = re.compile(r"models:/([^/@]+)@([^/@]+)")
RUN = re.compile(r"runs:/([^/]+)/(.+)")
LOGGED_MODEL = re.compile(r"models:/(m-[^/@]+)")
THROUGH_MLFLOW = ("mlflow-artifacts:", "dbfs:")  # stores that only MLflow's own client reaches
WRONG = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND", "ENDPOINT_NOT_FOUND", "BAD_REQUEST")
REFUSED = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")


class PinnedCheckpoint(NamedTuple):
    """A checkpoint that stays the same: its name, and where every machine finds its files."""

    name: str
    folder: str


def pinned_version(uri: str) -> str:
    """Gives a URI that always means what this one means now: a version instead of an alias.

    Raises:
        ConfigError: it is no such URI, MLflow is not installed, or its own settings are wrong.
        CheckpointError: the registry has no such model, version or alias.
        AccessError, StorageError: the registry refuses, or does not answer.
    """
    model = uri.removeprefix(REGISTRY)
    if not (alias := ALIAS.fullmatch(model)):
        if not (VERSION.fullmatch(model) or RUN.fullmatch(model)):
            raise ConfigError(
                f"checkpoint.uri {uri}: expected mlflow:models:/name@alias, mlflow:models:/name/version or "
                "mlflow:runs:/run/path"
            )
        return uri
    with _asked(uri) as client:
        version = client.get_model_version_by_alias(*alias.groups()).version
    return f"{REGISTRY}models:/{alias[1]}/{version}"


def artifact_folder(uri: str) -> str:
    """Gives the URI of the folder where a version's or a run's files are; the same URI where only MLflow can read it.

    Raises as `pinned_version`.
    """
    with _asked(uri) as client:
        from mlflow.utils.file_utils import local_file_uri_to_path

        folder = _folder(client, uri.removeprefix(REGISTRY))
        if folder.startswith(THROUGH_MLFLOW):
            return uri
        is_local = folder.startswith("file:") or "://" not in folder
        return f"file://{Path(local_file_uri_to_path(folder)).absolute()}" if is_local else folder


def copy_name(uri: str) -> str:
    """Names this machine's copy of a version: of this registry, for others have versions of that name too."""
    registry = [os.environ.get(name, "") for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI")]
    return digest("mlflow/1", uri, registry)[:32]


def download_version(uri: str, target: Path) -> None:
    """Copies a version's files into a folder through MLflow. Raises as `pinned_version`."""
    with _asked(uri) as client:
        from mlflow.artifacts import download_artifacts

        apart = target / ".mlflow"  # where it makes a folder, whose name one of the files may have
        apart.mkdir()
        for path in Path(
            download_artifacts(_folder(client, uri.removeprefix(REGISTRY)), dst_path=str(apart))
        ).iterdir():
            path.rename(target / path.name)
    shutil.rmtree(apart)


def _folder(client: Any, model: str) -> str:
    """Follows what a version is said to be made of to the folder itself."""
    if match := RUN.fullmatch(model):
        return f"{client.get_run(match[1]).info.artifact_uri.rstrip('/')}/{match[2]}"
    if match := LOGGED_MODEL.fullmatch(model):
        return str(client.get_logged_model(match[1]).artifact_location)
    if match := VERSION.fullmatch(model):
        return _folder(client, client.get_model_version_download_uri(*match.groups()))
    return model


@contextlib.contextmanager
def _asked(uri: str) -> Iterator[Any]:
    """A client of the registry, whose errors become ours."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before it is imported, which would begin to tell
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own and of what it imports: nothing that our users could mend
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise ConfigError(
                f"checkpoint.uri {uri}: needs MLflow ({error}): pip install 'rookery[mlflow]' (or mlflow-skinny)"
            ) from error
        try:
            client = MlflowClient()
        except (MlflowException, ImportError) as error:
            raise ConfigError(
                f"checkpoint.uri {uri}: MLflow can't use MLFLOW_TRACKING_URI or MLFLOW_REGISTRY_URI: {error}"
            ) from error
        try:
            yield client
        except MlflowException as error:
            raise _explained(uri, error) from error


def _explained(uri: str, error: Any) -> RookeryError:
    said = f"checkpoint.uri {uri}: MLflow says: {str(error).splitlines()[0]}"
    if error.error_code in WRONG:
        return CheckpointError(f"{said}; name a model and a version or an alias that the registry has")
    if error.error_code in REFUSED:
        return AccessError(f"{said}; give it credentials, such as MLFLOW_TRACKING_TOKEN")
    return StorageError(f"{said}; run again: finished units are kept")
