"""The programs that call this server: what to enter in each, and by what each is known when it calls."""
