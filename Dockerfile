# The scheduler, and every command, in a container that runs as an ordinary user; compose.yaml adds PostgreSQL.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
WORKDIR /tmp
COPY requirements.lock .
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --require-hashes -r requirements.lock \
    && pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

# The home folder has all that changes: configs, saved rows, backups, the shared pace. It is a volume in compose.yaml.
ENV CRYPTO_METRICS_HOME=/var/lib/crypto-metrics \
    PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --user-group --create-home --home-dir "$CRYPTO_METRICS_HOME" crypto-metrics
USER 10001:10001
WORKDIR /var/lib/crypto-metrics

# Healthy also with exit code 1, which means that a person is needed: a restart would not help. The first backfill may take
# an hour.
HEALTHCHECK --interval=5m --timeout=1m --start-period=1h --retries=2 \
    CMD ["sh", "-c", "crypto-metrics status; [ $? -le 1 ]"]
# Without a shell: the scheduler is process 1, and SIGTERM reaches it.
CMD ["crypto-metrics-scheduler"]
