"""The options of every command that asks a site."""

from __future__ import annotations

import asyncio

import click
import pytest
from click.testing import CliRunner

from qss.cli.asking import ADMIN, Asked, asking
from qss.cli.main import main

FILES = {"QSS_CERT": "c", "QSS_KEY": "k", "QSS_CA": "a"}


@click.command()
@click.option("--own", default="nothing")
@asking(ADMIN)
def told(asked: Asked, own: str) -> None:
    """Say what was asked."""
    click.echo(f"{asked.url} {asked.cert} {asked.key} {asked.ca} {asked.as_json} {own}")


def test_a_command_gets_what_all_have_as_one_and_its_own_besides() -> None:
    ran = CliRunner().invoke(told, ["--url", "u", "--json", "--own", "more"], env=FILES)
    assert ran.output == "u c k a True more\n"
    assert CliRunner().invoke(told, env={"QSS_URL": "v", **FILES}).output == "v c k a False nothing\n"


@pytest.mark.parametrize("variable", FILES)
def test_nothing_is_asked_without_a_certificate(variable) -> None:
    ran = CliRunner().invoke(told, ["--url", "u"], env={**FILES, variable: None})
    assert ran.exit_code == 2
    assert f"env var: '{variable}'" in ran.output


@pytest.mark.parametrize(
    ("words", "whom"),
    [
        ("key get", "The key server: https"),
        ("key void", "The Admin interface of the site: https"),
        ("sae list", "The Admin interface of the site: https"),
        ("module stop", "The Admin interface of the site: https"),
        ("route graph", "The Admin interface of the site, or of its routing module: https"),
        ("device", "of the site with the lower ID of the two, or of its module"),
    ],
)
def test_help_says_whom_to_ask(words, whom) -> None:
    shown = CliRunner().invoke(main, [*words.split(), "--help"]).output
    assert whom in " ".join(shown.split())


def test_admin_is_asked_with_what_was_told(monkeypatch) -> None:
    class Client:
        def __init__(self, *told):
            self.told = told

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            await asyncio.sleep(0)

        async def saes(self):
            return self.told

    monkeypatch.setattr("qss.client.AdminClient", Client)
    assert Asked("u", "c", "k", "a", as_json=False).ask_admin(lambda client: client.saes()) == ("u", "c", "k", "a")
