"""How fast the server is, beside the upstream itself, nginx and, where installed, LiteLLM, in one run.

    python -m bench [--rows request,burst] [--seconds 3]

It uses the server as users do, through its ports, and imports nothing of it.
"""
