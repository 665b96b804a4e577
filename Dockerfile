# The job in a container: obs, and dbt for PostgreSQL.
#   docker build -t obs .
#   docker run --rm -v "$PWD:/project:ro" -v obs-state:/state -e PUSHGATEWAY_URL=… obs
# Another warehouse: --build-arg EXTRA= --build-arg PACKAGES="dbt-core==1.11.* dbt-duckdb"
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG EXTRA=[postgres]
ARG PACKAGES=
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt "$(echo /wheels/*.whl)$EXTRA" \
    && if [ -n "$PACKAGES" ]; then pip install --no-cache-dir $PACKAGES; fi \
    && rm -r /wheels \
    && useradd --uid 10001 --create-home --home-dir /home/obs obs \
    && install --directory --owner=obs /project /state

# The project may be mounted read-only: what dbt writes, and what obs remembers, is in /state.
ENV DBT_PROJECT_DIR=/project \
    DBT_TARGET_PATH=/state \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /project
VOLUME /state
ENTRYPOINT ["obs"]
CMD ["freshness", "push"]
