"""The pages under /ui: what the server does and knows, for people with a browser (docs/page.md).

`routes.py` joins them into a blueprint, `views/` has a module for each page, `rendering.py` and `words.py` make HTML of
a report's values and know no Flask. No page shows a prompt, an answer or a key.
"""
