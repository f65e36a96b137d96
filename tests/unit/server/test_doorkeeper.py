from pathlib import Path

import pytest

from flame_kernel.errors import KeyRefused, NotPermitted
from flame_kernel.protocol.messages import LANE_CALLS, LANE_SESSION
from flame_kernel.security.admission import Admission
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.invite_book import InviteBook
from flame_kernel.security.keys import KeyPair
from flame_kernel.server.doorkeeper import Doorkeeper

NOW = 1_000.0
KEY = KeyPair.generate().public


@pytest.fixture
def authorized(tmp_path: Path) -> AuthorizedKeys:
    return AuthorizedKeys(tmp_path / "authorized_keys")


@pytest.fixture
def doorkeeper(authorized: AuthorizedKeys, tmp_path: Path) -> Doorkeeper:
    invites = InviteBook(tmp_path / "invites")
    admission = Admission(authorized, invites, lambda: NOW, lambda report: None)
    return Doorkeeper(admission, authorized, invites, "gpu1", lambda: NOW)


@pytest.mark.parametrize("role", [Role.EXECUTE, Role.FILES, Role.ADMIN])
def test_keys_that_may_execute_may_open_every_lane(
    doorkeeper: Doorkeeper, authorized: AuthorizedKeys, role: Role
) -> None:
    authorized.add(KEY, role, "ann")

    for lane in (LANE_SESSION, LANE_CALLS):
        doorkeeper.require_role(doorkeeper.recognise(KEY), lane)


def test_a_key_that_may_only_observe_calls_nothing(doorkeeper: Doorkeeper, authorized: AuthorizedKeys) -> None:
    authorized.add(KEY, Role.OBSERVE, "ann")
    caller = doorkeeper.recognise(KEY)

    doorkeeper.require_role(caller, LANE_SESSION)
    with pytest.raises(NotPermitted, match="needs the role execute; this client may observe"):
        doorkeeper.require_role(caller, LANE_CALLS)


def test_a_key_that_was_removed_is_refused(doorkeeper: Doorkeeper, authorized: AuthorizedKeys) -> None:
    authorized.add(KEY, Role.ADMIN, "ann")
    authorized.remove("ann")

    with pytest.raises(KeyRefused, match="no longer admits"):
        doorkeeper.recognise(KEY)


def test_the_user_of_the_unix_socket_may_use_sessions(doorkeeper: Doorkeeper) -> None:
    doorkeeper.require_role(doorkeeper.recognise(b""), LANE_CALLS)
