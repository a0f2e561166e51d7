"""With which neighbours a site's routing tags what it sends, by its configuration (Routing 12.1)."""

from __future__ import annotations

from collections.abc import Iterator

from qss.app.site_tables import SiteConfiguration
from qss.app.toml_decoding import shown
from qss.core.routing import TagSetting
from qss.model.identifiers import QksId


def tag_settings(configuration: SiteConfiguration) -> dict[QksId, TagSetting]:
    """Return the settings of the neighbours for whom it is not off."""
    default = configuration.routing.link_tags
    settings = {link.peer: TagSetting(link.link_tags or default) for link in configuration.links}
    return {peer: setting for peer, setting in settings.items() if setting is not TagSetting.OFF}


def tag_faults(configuration: SiteConfiguration) -> Iterator[tuple[str, str, str]]:
    """Yield each key that asks for tags where there is no key for them; what was found, and what is allowed."""
    if configuration.routing.process is None:
        return
    asking = [("routing.link_tags", configuration.routing.link_tags)]
    asking += [(f"links[{i}].link_tags", link.link_tags or "off") for i, link in enumerate(configuration.links)]
    for key, setting in asking:
        if setting != "off":
            yield key, shown(setting), "off: a routing module in a process of its own (routing.process) gets no key"
