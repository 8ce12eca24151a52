"""The program's version, in one place: `pip`, `/health`, the `Server` header and the command line read it here."""

__version__ = "1.0.0"

#: What the `Server` header says.
SERVER = f"ollama-proxy/{__version__}"
