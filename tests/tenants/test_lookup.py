"""Finding a tenant by whatever the caller knows of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.tenants import search
from apps.tenants.models import Contact, Tenant
from tests import factories as make


def names(user: Any, text: str) -> list[str]:
    return [found.name for found in search.lookup(user, text)]


@pytest.mark.parametrize(
    ("text", "matched", "read"),
    [
        ("Northwind Traders", "name", "Northwind Traders"),
        ("northwind traders", "name", "Northwind Traders"),
        ("  NORTHWIND   TRADERS ", "name", "Northwind Traders"),
        ("northwind", "key", "northwind"),
        ("shop.northwind.example", "domain", "shop.northwind.example"),
        ("ada@northwind.example", "e-mail", "ada@northwind.example"),
        ("ADA@NORTHWIND.EXAMPLE", "e-mail", "ada@northwind.example"),
        ("Ada Lovelace", "contact", "Ada Lovelace"),
        ("lovelace", "contact", "Ada Lovelace"),
        ("cus_9s6XKzkNRiz8i3", "external id", "cus_9s6XKzkNRiz8i3"),
        ("northwind-prod", "instance", "northwind-prod"),
    ],
)
def test_it_finds_by_each_thing_and_says_what_matched(
    world: SimpleNamespace, text: str, matched: str, read: str
) -> None:
    first = search.lookup(world.everything, text)[0]
    assert (first.name, first.matched, first.text) == ("Northwind Traders", matched, read)


def test_it_finds_by_id_of_tenant_and_of_instance(world: SimpleNamespace) -> None:
    for text in (str(world.northwind.pk), f"#{world.northwind.pk}"):
        assert ("Northwind Traders", "id") in [
            (found.name, found.matched) for found in search.lookup(world.everything, text)
        ]
    hits = search.lookup(world.everything, str(world.globex_1.pk))
    assert ("Globex", "instance id") in [(found.name, found.matched) for found in hits]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nortwhind", "Northwind Traders"),
        ("northwnd", "Northwind Traders"),
        ("nrothwind", "Northwind Traders"),
        ("northwind tradres", "Northwind Traders"),
        ("globxe", "Globex"),
        ("initehc", "Initech"),
        ("acmee.com", "Initech"),
        ("shop.nortwhind.example", "Northwind Traders"),
        ("hank@glowbex.example", "Globex"),
        ("ada lovelase", "Northwind Traders"),
        ("nortwhind-prod", "Northwind Traders"),
    ],
)
def test_it_bears_a_typing_error(world: SimpleNamespace, text: str, name: str) -> None:
    hits = search.lookup(world.everything, text)
    assert hits[0].name == name
    assert hits[0].is_guess


def test_it_ranks_exact_before_beginning_before_holding_before_resembling(world: SimpleNamespace) -> None:
    make.make_tenant("t-exact", name="Zebra")
    make.make_tenant("t-begins", name="Zebra Foods")
    make.make_tenant("t-holds", name="Blue Zebra")
    make.make_tenant("t-resembles", name="Zebrra")
    assert names(world.everything, "zebra") == ["Zebra", "Zebra Foods", "Blue Zebra"]
    assert names(world.everything, "zebbra")[0] in ("Zebra", "Zebrra")


def test_each_tenant_is_told_once_by_its_best_match(world: SimpleNamespace) -> None:
    assert names(world.everything, "northwind").count("Northwind Traders") == 1


def test_what_resembles_is_not_told_where_it_was_found_exactly(world: SimpleNamespace) -> None:
    make.make_tenant("nortwhind", name="Nortwhind")
    assert names(world.everything, "nortwhind") == ["Nortwhind"]


@pytest.mark.parametrize(
    "text",
    ["globex", "Globex", "hank@globex.example", "hank", "globex.example", "globex-prod", "glbex", "globx"],
)
def test_a_tenant_of_another_account_is_never_found(world: SimpleNamespace, text: str) -> None:
    assert "Globex" in names(world.everything, text)
    assert "Globex" not in names(world.of_eu, text)
    assert "Globex" not in names(world.of_northwind, text)
    assert names(world.nobody, text) == []


def test_ids_of_what_is_out_of_scope_find_nothing(world: SimpleNamespace) -> None:
    found = search.lookup(world.of_eu, str(world.globex.pk)) + search.lookup(
        world.of_eu, str(world.globex_1.pk)
    )
    assert "Globex" not in [hit.name for hit in found]


def test_an_instance_out_of_scope_does_not_find_a_tenant_in_scope(world: SimpleNamespace) -> None:
    """initech is in both accounts: who sees the one must not learn of its instance in the other."""
    assert names(world.everything, "shared-us-1") == ["Initech"]
    assert names(world.of_eu, "shared-us-1") == names(world.of_eu, "shared-xx-1")
    assert "shared-us-1" not in [hit.text for hit in search.lookup(world.of_eu, "shared-us-1")]
    assert names(world.of_eu, "shared-eu-1") == ["Initech"]


def test_what_is_out_of_scope_takes_no_place_from_what_is_in(world: SimpleNamespace) -> None:
    for number in range(30):
        make.make_tenant(f"zebra-{number}", name=f"Zebra {number}")
    mine = make.make_tenant("zebra-zz", name="Zebra ZZ")
    make.place(mine, world.northwind_1)
    assert [found.name for found in search.lookup(world.of_eu, "zebra", limit=5)] == ["Zebra ZZ"]


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE tenants_tenant; --",
        "%", "_", "%%%", "\\", "a\\", "%(text)s", "{seen}", "x' OR '1'='1",
        "\x00", "\x00north", "😀😀😀😀", "北京市公司", "(a+)+$", "(" * 200, "a" * 5000, "9" * 400, "-1", "#", "#-",
        "½", "٣", "\ud7ff\u200b\u202e", "\t\n", "$1", ":name", "?",
    ],
)  # fmt: skip
def test_odd_text_is_harmless(world: SimpleNamespace, text: str) -> None:
    before = Tenant.objects.count()
    for user in (world.everything, world.of_eu, world.of_northwind):
        assert isinstance(search.lookup(user, text), list)
    assert Tenant.objects.count() == before


def test_wildcards_are_letters(world: SimpleNamespace) -> None:
    make.make_tenant("percent", name="100% Cotton")
    make.make_tenant("other", name="100 Cotton")
    assert names(world.everything, "100%") == ["100% Cotton"]
    assert search.lookup(world.everything, "n_rthwind")[0].is_guess


def test_one_or_two_letters_only_begin(world: SimpleNamespace) -> None:
    assert "Northwind Traders" in names(world.everything, "no")
    assert "Northwind Traders" not in names(world.everything, "wi")


def test_nothing_asked_nothing_found(world: SimpleNamespace) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert search.lookup(world.everything, "   ") == []
    assert len(queries) == 0


def test_its_statements_are_few(world: SimpleNamespace) -> None:
    """For who sees through an account: the search, which hits are theirs, and the narrow search where one is not."""
    search.lookup(world.of_eu, "warm")  # loads the scopes
    for text, most in (("northwind", 3), ("nortwhind", 5), ("zzzzzz", 2), ("a", 3), ("12345", 1)):
        with CaptureQueriesContext(connection) as queries:
            search.lookup(world.of_eu, text)
        assert len(queries) <= most, text


@pytest.mark.django_db(transaction=True)
def test_its_settings_end_with_it() -> None:
    user = make.make_user(superuser=True)
    assert search.lookup(user, "nortwhind") == []
    with connection.cursor() as cursor:
        for setting, value in (("enable_seqscan", "on"), ("pg_trgm.word_similarity_threshold", "0.6")):
            cursor.execute(f"SHOW {setting}")
            assert cursor.fetchone() == (value,)


def test_every_part_of_the_search_has_its_index(world: SimpleNamespace) -> None:
    """On tables large enough to matter the plan may use no sequential scan of a searched column."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'")
        indexes = cursor.fetchall()
    for table, column in (
        ("tenants_tenant", "name"), ("tenants_tenant", "key"), ("tenants_domain", "name"),
        ("tenants_contact", "email"), ("tenants_contact", "name"), ("tenants_externalid", "value"),
        ("fleet_instance", "name"),
    ):  # fmt: skip
        mine = [definition for name, definition in indexes if name == table and column in definition]
        assert any("gin_trgm_ops" in definition for definition in mine), (table, column)
        assert any("pattern_ops" in definition for definition in mine), (table, column)


def test_a_left_contact_is_found_no_more(world: SimpleNamespace) -> None:
    with make.as_system():
        Contact.objects.filter(email="hank@globex.example").delete()
    assert (
        names(world.everything, "hank@globex.example") == []
        or search.lookup(world.everything, "hank@globex.example")[0].is_guess
    )
