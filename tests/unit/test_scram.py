"""SCRAM verifiers as PostgreSQL stores them (S6: no password on the server)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salina.database import scram

# RFC 7677, section 3: user "user", password "pencil". Its server signature and proof follow from
# these two keys; PostgreSQL stores them like this.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
PASSWORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)


def test_the_example_of_the_standard() -> None:
    assert scram.verifier("pencil", SALT) == PENCIL
    assert scram.matches(PENCIL, "pencil")
    assert not scram.matches(PENCIL, "pencil ")


def test_other_iterations_are_read_from_the_verifier() -> None:
    assert scram.matches(scram.verifier("pencil", SALT, 5000), "pencil")


@pytest.mark.parametrize("stored", [None, "", "md5" + "0" * 32, "SCRAM-SHA-256$x:y$z", "a$b:c$d:e"])
def test_what_is_no_verifier_never_matches(stored: str | None) -> None:
    assert not scram.matches(stored, "pencil")


@pytest.mark.parametrize("password", ["", "größe", "a\nb", "a\0b"])
def test_a_password_that_clients_could_prepare_differently_is_refused(password: str) -> None:
    for ask in (scram.verifier, lambda given: scram.matches(PENCIL, given)):
        with pytest.raises(ValueError, match="printable ASCII") as caught:
            ask(password)
        assert not password or password not in str(caught.value)


@given(PASSWORDS)
def test_a_verifier_matches_its_password_and_never_holds_it(password: str) -> None:
    """S6: A verifier matches its password and does not contain it."""
    stored = scram.verifier(password, iterations=1)
    assert scram.matches(stored, password)
    assert not scram.matches(stored, password + "x")
    assert scram.verifier(password, iterations=1) != stored  # another salt each time
