FROM python:3.12-slim AS build
WORKDIR /srv/roundtrip
COPY requirements.lock ./
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 roundtrip && mkdir /data && chown roundtrip /data
WORKDIR /srv/roundtrip
COPY --from=build /srv/roundtrip/.venv .venv
COPY alembic.ini ./
COPY migrations migrations
COPY app app
USER roundtrip
ENV PATH=/srv/roundtrip/.venv/bin:$PATH ROUNDTRIP_HOST=0.0.0.0 ROUNDTRIP_DATA_DIR=/data PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz')"]
CMD ["python", "-m", "app.cli", "serve"]
