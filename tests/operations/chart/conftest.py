"""Helm, rendered manifests, and the settings that our processes read from them."""

import os
from collections.abc import Callable
from copy import deepcopy
from functools import cache

import pytest

from rookery.commands.options import read_settings
from shared.settings import ENV_PREFIX
from tests.needed import needed
from tools.operations.helm import Helm
from tools.operations.kubernetes import Manifest
from tools.operations.manifests import CHART, NAMESPACE, RELEASE, Running, environment_of, values_of, workloads


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    needed(Helm.program)
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def render(helm: Helm) -> Callable[[str], list[Manifest]]:
    """Renders a value set."""
    return cache(lambda case: helm.template(CHART, "-f", values_of(case), release=RELEASE, namespace=NAMESPACE))


@pytest.fixture
def objects(render: Callable[[str], list[Manifest]], case: str) -> list[Manifest]:
    """Manifests of the test's value set, which it may change."""
    return deepcopy(render(case))


@pytest.fixture
def processes(objects: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> list[Running]:
    """Workloads with their settings, which must be valid."""
    found = []
    for workload in workloads(objects):
        with monkeypatch.context() as environment:
            for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
                environment.delenv(name)
            environment.setenv("ROOKERY_FILE", os.devnull)
            for name, value in environment_of(objects, workload, f"{workload['metadata']['name']}-0").items():
                environment.setenv(name, value)
            found.append(Running(workload, read_settings()))
    return found
