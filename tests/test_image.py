"""What is shipped is fixed and has no rights it does not need (reference reliability S17): the packages, the image, and
the services of `compose.yaml`."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from config.env import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())
OURS = [name for name, service in COMPOSE["services"].items() if service.get("image") == "patchbay"]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_package_is_pinned_to_one_version(name: str) -> None:
    lines = [line.partition(" #")[0].strip() for line in (PROJECT / name).read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r "))]
    loose = [str(one) for one in wanted if not re.fullmatch(r"==[\w.]+", str(one.specifier)) or one.url]
    assert wanted
    assert loose == []


def test_image_runs_as_a_user_without_rights_and_takes_nothing_from_the_net_but_packages() -> None:
    users = [line.split()[1] for line in DOCKERFILE if line.startswith("USER ")]
    commands = [line for line in DOCKERFILE if line.startswith(("RUN ", "ADD ", "COPY "))]
    assert users[-1:] == ["patchbay"]
    assert DOCKERFILE.index("USER patchbay") < next(i for i, line in enumerate(DOCKERFILE) if line.startswith("CMD "))
    assert not any(line.startswith("ADD ") or re.search(r"\b(curl|wget|git)\b|https?://", line) for line in commands)


def test_image_is_given_the_product_and_not_its_surroundings() -> None:
    """A folder that lies about when somebody builds, with keys or mail in it, is in no image."""
    copied = [line.split()[1] for line in DOCKERFILE if line.startswith("COPY ") and "--from" not in line]
    apps = {entry.name for entry in PROJECT.iterdir() if (entry / "apps.py").exists()}
    assert set(copied) == {"requirements.txt", "manage.py", "config", "core", *apps}


@pytest.mark.parametrize("name", OURS)
def test_service_of_ours_writes_nowhere_but_its_data_and_gains_no_rights(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/data"]
    assert not {"privileged", "cap_add", "user", "pid", "network_mode", "devices"} & set(service)


def test_services_are_reached_from_this_machine_alone() -> None:
    """TLS stands in front; databases and brokers are nobody's."""
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert OURS
    assert list(published) == ["web"]
    assert all(port.startswith("127.0.0.1:") for port in published["web"])
