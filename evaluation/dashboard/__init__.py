"""A page on this machine for looking into several evaluations: `make dashboard`.

Input: `metrics.json` of MLflow runs and of folders that `stalkscreen evaluate` wrote. Output: HTML, CSV and PNG to a
browser on the same machine, from the templates and the script of the report. It writes nothing and asks nobody else
for anything; it reads no narrative, and of a `report.html` no more than the title.

    sources.py  which evaluations there are
    state.py    what the address asks for
    figures.py  figures at a threshold, and two evaluations side by side
    pages.py    the pages and charts
    app.py      addresses, downloads and headers
"""
