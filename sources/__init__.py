"""The sources: one module and one config file for each API; SOURCES is where a new one is entered."""

from sources.artemis import Artemis
from sources.base import BaseSource
from sources.defillama import DefiLlama

SOURCES: dict[str, type[BaseSource]] = {source.name: source for source in (Artemis, DefiLlama)}
