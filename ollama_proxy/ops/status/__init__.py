"""One report for whoever looks: the command line, a page, the doctor.

`report.py` joins its parts, which the other modules make; `views.py` says where they look; `routes.py` hands them out
as /api/proxy/*. No part holds a prompt, an answer or a key (docs/contract.md, "Report").
"""
