# Tidemill and the servers that it is tested with: `docker compose up` builds all of them.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked && cp target/release/tidemill target/release/gcs-emulator /usr/local/bin/

FROM debian:bookworm-slim AS tidemill
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* && useradd --create-home --uid 1000 tidemill
COPY --from=build /usr/local/bin/tidemill /usr/local/bin/tidemill
COPY --chown=tidemill tidemill*.toml /project/
COPY --chown=tidemill topics /project/topics
COPY --chown=tidemill jobs /project/jobs
COPY --chown=tidemill dags /project/dags
RUN mkdir /project/.tidemill && chown tidemill /project /project/.tidemill
USER tidemill
WORKDIR /project
# State and logs; attempts end with the container and are tried again by the next.
VOLUME /project/.tidemill
STOPSIGNAL SIGINT
ENTRYPOINT ["tidemill"]
CMD ["up"]

FROM debian:bookworm-slim AS gcs-emulator
COPY --from=build /usr/local/bin/gcs-emulator /usr/local/bin/gcs-emulator
ENTRYPOINT ["gcs-emulator", "/buckets", "--listen", "0.0.0.0:9023", "--bucket", "tidemill-lake"]

FROM python:3.12-slim-bookworm AS bigquery-emulator
WORKDIR /emulator
COPY emulators/bigquery/requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt \
    && version=$(sed -n 's/^duckdb==//p' requirements.txt) \
    && extensions=/root/.duckdb/extensions/v$version/linux_amd64 && mkdir -p "$extensions" \
    && cp /usr/local/lib/python3.12/site-packages/duckdb_extension_spatial/extensions/v"$version"/*.duckdb_extension "$extensions"
COPY emulators/bigquery/serve.py .
ENTRYPOINT ["python", "serve.py"]
