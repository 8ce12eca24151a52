"""Modelfiles, as the command line of Ollama reads and writes them. Pure: texts only, no models, no requests."""
