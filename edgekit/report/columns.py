"""The columns of each table that a person is shown first; the files and --json hold them all."""

from __future__ import annotations

SHOWN = {
    "table-2-accuracy": (
        "system", "variant", "backend", "precision", "published_age_accuracy",
        "published_gender_accuracy", "age_accuracy", "age_1off", "gender_accuracy", "images",
        "device", "runtime", "protocol", "provenance",
    ),
    "table-3-parameters": (
        "system", "variant", "published_parameters", "parameters", "macs", "deployed_parameters",
        "deployed_macs",
    ),
    "table-3-latency": (
        "system", "variant", "published_desktop_s", "published_phone_s", "backend", "precision",
        "p50_ms", "p50_low_ms", "p50_high_ms", "target", "provenance", "ratio", "ratio_claim",
    ),
    "table-3-latency-predicted": (
        "system", "variant", "published_phone_s", "published_phone_ratio", "backend", "precision",
        "threads", "predicted_p50_ms", "low_ms", "high_ms", "calibration", "ratio", "ratio_low",
        "ratio_high", "ratio_claim", "target", "provenance",
    ),
    "artifacts": (
        "model", "backend", "precision", "weights", "size_bytes", "parity_max_abs_diff",
        "parity_agreement", "p50_ms", "p90_ms", "load_ms", "first_ms", "peak_memory_mb",
        "instructions_per_inference", "target", "provenance",
    ),
}  # fmt: skip
"""By table: what a terminal shows, and the page before it is asked for all columns."""
