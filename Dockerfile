# One image for web, worker, migrations and the simulator of the demo.
FROM python:3.11-slim AS packages
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

FROM python:3.11-slim
# dashboard/version.py has the version; a test compares
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="CSS Log Backup Dashboard" \
      org.opencontainers.image.version=$VERSION
RUN useradd --uid 10001 --create-home --home-dir /home/dashboard dashboard
COPY --from=packages /venv /venv
WORKDIR /app
COPY manage.py ./
COPY dashboard dashboard
COPY backups backups
COPY simulator simulator
COPY templates templates
COPY locale locale
COPY static static
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    STATIC_ROOT=/app/staticfiles \
    DATA_DIR=/data
# The secret key that this makes on the way is not part of the image. /data and /demo are where
# volumes are mounted: a new volume takes its owner from here.
RUN DATA_DIR=/tmp/build python manage.py collectstatic --noinput -v 0 \
 && rm -rf /tmp/build \
 && install -d -o dashboard -m 700 /data \
 && install -d -o dashboard -m 700 /demo
USER dashboard
EXPOSE 8000
CMD ["python", "-m", "dashboard.gunicorn", "--bind", "0.0.0.0:8000"]
