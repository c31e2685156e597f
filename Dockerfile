# The worker's image: Python, the JVM of KCL's daemon, OpenVINO and one model; no torch.
#
#   make image ENVIRONMENT=prod
#
# BASE is any image of a glibc system with Python 3.11 or later; give a digest (python@sha256:…) to pin it.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/venv
COPY requirements/worker.txt /build/
# Building amazon-kclpy fetches KCL's jars.
RUN /opt/venv/bin/pip install --quiet --require-hashes --no-deps -r /build/worker.txt
COPY cloud /app/cloud
COPY kcl_worker /app/kcl_worker
COPY contract /app/contract
# The jars against their hashes; an archive of classes that makes the JVM start a second sooner; what only pip needs.
RUN cd /app && /opt/venv/bin/python -m kcl_worker.kcl.jars \
    && "$(/opt/venv/bin/python -c 'from kcl_worker.kcl.jvm import find_java; print(find_java())')" -Xshare:dump > /dev/null \
    && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools \
    && /opt/venv/bin/python -m compileall -q /app
# 170 MB that nothing here loads: other processors than the CPU, models of other kinds than ours, other services of AWS
# than ours, libraries' own tests.
RUN cd /opt/venv/lib/python3*/site-packages && find . -type d -name tests -prune -exec rm -rf {} + \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d \
       ! -name s3 ! -name sqs ! -name ssm ! -name sts ! -name dynamodb ! -name kinesis ! -name events -exec rm -rf {} + \
    && cd openvino/libs && rm -f libopenvino_intel_[gn]pu_plugin.so cache.json \
       libopenvino_tensorflow* libopenvino_pytorch* libopenvino_paddle* libopenvino_jax* libopenvino_gguf*
# The model's files with their hashes, without which the worker does not start: yolov8n, yolov8n-int8, …; and what
# YOLO_PRECISION=auto may take instead.
ARG MODEL=yolov8n
ARG QUANTISED=${MODEL}
COPY models/${MODEL}.* models/${QUANTISED}.* /app/models/

FROM ${BASE}
ARG UID=10001
RUN echo "worker:x:${UID}:${UID}::/tmp:/usr/sbin/nologin" >> /etc/passwd && echo "worker:x:${UID}:" >> /etc/group
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /app
USER ${UID}:${UID}
# Of a read-only root file system this alone is written: the daemon's files and sockets. A volume keeps its
# permissions, which Fargate would set to root's otherwise.
VOLUME ["/tmp"]
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "kcl_worker.operating.healthcheck"]
ENTRYPOINT ["python", "-m", "kcl_worker"]
