"""The settings: what there is (`settings`), where values come from (`sources`), how they are read (`loading`)."""

from ollama_proxy.config.fields import Network
from ollama_proxy.config.help import help_text
from ollama_proxy.config.loading import keep_settings, kept_settings, load_settings, missing_key_text
from ollama_proxy.config.misspelt import misspelt_names
from ollama_proxy.config.settings import PRIVATE_NETWORKS, VARIABLES, Settings, SettingsError
from ollama_proxy.config.sources import environment

__all__ = [
    "PRIVATE_NETWORKS",
    "VARIABLES",
    "Network",
    "Settings",
    "SettingsError",
    "environment",
    "help_text",
    "keep_settings",
    "kept_settings",
    "load_settings",
    "missing_key_text",
    "misspelt_names",
]
