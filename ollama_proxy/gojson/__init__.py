"""JSON as Go reads and refuses it, which is what clients of Ollama have learned to expect."""
