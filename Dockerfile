# The broker, as docker-compose.yml runs it.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin cofferdam

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/cofferdam --create-home cofferdam
COPY --from=build /src/target/release/cofferdam /usr/local/bin/cofferdam
USER cofferdam
WORKDIR /var/lib/cofferdam
VOLUME /var/lib/cofferdam
EXPOSE 8883 8443 9080
ENTRYPOINT ["cofferdam"]
CMD ["serve"]
