"""Reads and refuses JSON as Go does, because clients of Ollama expect Go's rules and Go's error texts."""
