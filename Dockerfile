# Debian with PostgreSQL and Rowan: a server that makes Rowan tables unless told otherwise.
#
#   docker build -t rowan .
#   docker run --name rowan -v rowan:/var/lib/postgresql -p 5432:5432 rowan
#   docker exec -it -u postgres rowan psql
#
# A cluster is made in the volume when the container first starts; to let others in, change its pg_hba.conf.
ARG DEBIAN=trixie
FROM debian:${DEBIAN} AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
    gcc libc6-dev make postgresql-server-dev-all && rm -rf /var/lib/apt/lists/*
COPY Makefile rowan.control rowan--0.1.0.sql rowan--0.1.0--0.2.0.sql /rowan/
COPY src /rowan/src
RUN cd /rowan && make -s -j"$(nproc)" && make -s install DESTDIR=/installed

FROM debian:${DEBIAN}
RUN apt-get update && mkdir -p /etc/postgresql-common && \
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf && \
    apt-get install -y --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*
COPY --from=build /installed /
COPY docker/start.sh /usr/local/bin/rowan-start
USER postgres
EXPOSE 5432
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
CMD ["rowan-start"]
