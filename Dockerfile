# edgekit with every converter: docker build -t edgekit . && docker run --rm -v "$PWD:/work" edgekit doctor
# Not built by the tests. The image is about 4 GB: PyTorch and four converters.
FROM python:3.12-slim-bookworm
# A C compiler and dpkg's tools for the emulated boards, an SSH client for real ones.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev openssh-client \
 && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml README.md LICENSE /src/
COPY edgekit /src/edgekit
COPY targets /src/targets
COPY benchmarks /src/benchmarks
COPY calibration /src/calibration
RUN pip install --no-cache-dir "/src[all]" && rm -rf /src
# Files that it writes belong to this user, not to root.
RUN useradd --create-home --uid 1000 edgekit
USER edgekit
WORKDIR /work
ENTRYPOINT ["edgekit"]
CMD ["--help"]
