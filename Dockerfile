# docker build -t ollama-proxy . && docker run -p 127.0.0.1:11434:11434 --env-file .env ollama-proxy
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app DATABASE_URL=sqlite:////data/ollama-proxy.db

# Before the code, so that a change of the code does not install everything anew.
COPY requirements.txt /app/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore -r /app/requirements.txt

COPY wsgi.py gunicorn.conf.py /app/
COPY migrations /app/migrations
COPY ollama_proxy /app/ollama_proxy

# A number, so that orchestrators can tell that it is not root. The code stays root's: the server cannot change it.
RUN python -m compileall -q /app && install -d -o 10001 -g 10001 /data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 11434

HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 11434), timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]

# Shell-free, so that SIGTERM reaches the server: it lets running answers finish for DRAIN_SECONDS.
CMD ["python", "-m", "ollama_proxy"]
