"""Google's published prices (ai.google.dev/gemini-api/docs/pricing), US dollars a million tokens."""

from decimal import Decimal as D

import pytest
from priced_call import MTOK, call, cost


@pytest.mark.parametrize("provider", ["gcp.gemini", "gcp.vertex_ai", "gcp.gen_ai", "google", "vertex_ai"])
@pytest.mark.parametrize(
    "name", ["gemini-2.5-flash", "models/gemini-2.5-flash", "publishers/google/models/gemini-2.5-flash"]
)
def test_every_name_of_the_same_model(provider: str, name: str) -> None:
    assert cost(provider, name, input_tokens=1_000, output_tokens=100) == (
        1_000 * D("0.30") / MTOK + 100 * D("2.50") / MTOK
    )


def test_the_cliff_lies_over_200000_tokens() -> None:
    assert cost("gcp.gemini", "gemini-2.5-pro", input_tokens=200_000, output_tokens=1_000) == (
        200_000 * D("1.25") / MTOK + 1_000 * D("10") / MTOK
    )
    assert (
        cost("gcp.gemini", "gemini-2.5-pro", input_tokens=200_001, cache_read_input_tokens=100_000, output_tokens=1_000)
        == (100_001 * D("2.50") + 100_000 * D("0.25") + 1_000 * D("15")) / MTOK
    )


def test_audio_costs_more_than_text_where_google_says_so() -> None:
    assert cost("gcp.gemini", "gemini-2.5-flash", input_tokens=1_000, audio_input_tokens=900) == (
        100 * D("0.30") / MTOK + 900 * D("1.00") / MTOK
    )


def test_audio_costs_as_text_where_the_page_has_one_input_price() -> None:
    heard = call("gcp.gemini", "gemini-2.5-pro", input_tokens=1_000, audio_input_tokens=900)
    assert (heard.status, heard.total) == ("priced", 1_000 * D("1.25") / MTOK)


def test_a_produced_image_costs_its_own_price() -> None:
    assert cost(
        "gcp.gemini", "gemini-2.5-flash-image", input_tokens=100, output_tokens=1_390, image_output_tokens=1_290
    ) == (100 * D("0.30") / MTOK + 100 * D("2.50") / MTOK + 1_290 * D("30") / MTOK)


def test_image_tokens_of_a_text_model_are_named_not_billed_as_text() -> None:
    drawn = call("gcp.gemini", "gemini-2.5-pro", output_tokens=1_290, image_output_tokens=1_290, input_tokens=10)
    assert (drawn.status, drawn.units) == ("partial", "image_output_tokens")


def test_images_by_the_piece() -> None:
    drawn = call("gcp.vertex_ai", "imagen-4.0-generate-001", operation="image_generation", quantities={"image": 3})
    assert drawn.total == drawn.costs["cost_image"] == 3 * D("0.04")


def test_a_batch_halves_input_and_output_and_caching_stays() -> None:
    assert (
        cost(
            "gcp.gemini",
            "gemini-2.5-pro",
            is_batch=True,
            input_tokens=1_000,
            cache_read_input_tokens=400,
            output_tokens=100,
        )
        == (600 * D("0.625") + 400 * D("0.125") + 100 * D("5")) / MTOK
    )


def test_flex_and_priority_of_an_introductory_price_and_of_the_one_after() -> None:
    tokens = {"input_tokens": 1_000, "cache_read_input_tokens": 400, "output_tokens": 100}
    intro = 600 * D("0.75") / MTOK + 400 * D("0.075") / MTOK + 100 * D("3.75") / MTOK
    assert cost("gcp.gemini", "gemini-3.7-flash", "2026-12-31T23:59:59", service_tier="priority", **tokens) == (
        intro * D("1.8")
    )
    assert cost("gcp.gemini", "gemini-3.7-flash", "2027-01-01T00:00:00", service_tier="priority", **tokens) == (
        2 * intro * D("1.8")
    )
    assert cost("gcp.gemini", "gemini-3.7-flash", service_tier="flex", **tokens) == intro / 2


def test_a_tier_that_is_not_published_for_a_model_is_unpriced() -> None:
    assert call("gcp.gemini", "gemini-2.0-flash", service_tier="priority", input_tokens=1_000).status == "unpriced"
    assert (
        call("gcp.vertex_ai", "gemini-2.5-pro", service_tier="PROVISIONED_THROUGHPUT", input_tokens=9).status
        == "unpriced"
    )
    assert call("gcp.vertex_ai", "gemini-2.5-pro", service_tier="ON_DEMAND", input_tokens=9).status == "priced"


def test_gemini_1_5_fell_in_2024() -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 100}
    assert cost("gcp.gemini", "gemini-1.5-pro-001", "2024-09-30T23:59:59", **tokens) == (
        1_000 * D("3.50") / MTOK + 100 * D("10.50") / MTOK
    )
    assert cost("gcp.gemini", "gemini-1.5-pro-002", "2024-10-01T00:00:00", **tokens) == (
        1_000 * D("1.25") / MTOK + 100 * D("5") / MTOK
    )
    assert cost("gcp.gemini", "gemini-1.5-flash", "2024-08-11T23:59:59", input_tokens=128_001) == (
        128_001 * D("0.70") / MTOK
    )


def test_the_small_model_is_not_priced_by_the_name_it_contains() -> None:
    assert cost("gcp.gemini", "gemini-1.5-flash-8b", input_tokens=1_000) == 1_000 * D("0.0375") / MTOK


# Claude on Vertex AI.


def test_claude_on_vertex_costs_ten_percent_more_on_a_regional_endpoint() -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 100}
    standard = 1_000 * D("1") / MTOK + 100 * D("5") / MTOK
    assert cost("gcp.vertex_ai", "claude-haiku-4-5@20251001", region="global", **tokens) == standard
    assert cost("gcp.vertex_ai", "claude-haiku-4-5@20251001", **tokens) == standard
    assert cost("gcp.vertex_ai", "claude-haiku-4-5@20251001", region="us-east5", **tokens) == standard * D("1.1")


def test_older_claude_models_cost_the_same_in_every_region_of_vertex() -> None:
    assert (
        cost("gcp.vertex_ai", "claude-sonnet-4@20250514", region="us-east5", input_tokens=1_000)
        == 1_000 * D("3") / MTOK
    )


def test_a_claude_model_that_google_does_not_list_is_billed_as_anthropic_lists_it() -> None:
    assert cost("gcp.vertex_ai", "claude-sonnet-5", input_tokens=1_000) == 1_000 * D("2") / MTOK
    assert (
        cost("gcp.vertex_ai", "claude-sonnet-5", region="europe-west1", input_tokens=1_000) == 1_000 * D("2.20") / MTOK
    )
    assert cost("gcp.vertex_ai", "claude-sonnet-5", is_batch=True, input_tokens=1_000) == 1_000 * D("1") / MTOK
    assert call("gcp.vertex_ai", "claude-opus-5", speed="fast", input_tokens=1_000).status == "unpriced"


def test_gemini_on_a_regional_endpoint_and_before_its_introductory_price() -> None:
    assert cost("gcp.vertex_ai", "gemini-3.7-flash", region="us-central1", input_tokens=1_000) == (
        1_000 * D("0.75") * D("1.1") / MTOK
    )
    assert cost("gcp.gemini", "gemini-3.6-flash", "2026-08-12T23:59:59", input_tokens=1_000) == 1_000 * D("1.50") / MTOK
    assert cost("gcp.gemini", "gemini-3.6-flash", "2026-08-13T00:00:00", input_tokens=1_000) == 1_000 * D("0.75") / MTOK


def test_an_hours_cache_write_on_vertex_is_twice_the_input() -> None:
    assert (
        cost(
            "gcp.vertex_ai",
            "claude-sonnet-4@20250514",
            input_tokens=1_000,
            cache_creation_input_tokens=1_000,
            cache_creation_1h_input_tokens=1_000,
        )
        == 1_000 * D("6") / MTOK
    )


# Tiers of the models that the default data has in the standard tier only.


@pytest.mark.parametrize(
    ("model", "total", "standard_input"),
    [
        ("gemini-2.5-pro", 200_000, "1.25"),
        ("gemini-2.5-pro", 200_001, "2.50"),
        ("gemini-2.5-flash", 1_000, "0.30"),
        ("gemini-2.5-flash-lite", 1_000, "0.10"),
        ("gemini-3-flash-preview", 1_000, "0.50"),
        ("gemini-3.1-pro-preview", 200_001, "4"),
        ("gemini-3.1-flash-lite", 1_000, "0.25"),
        ("gemini-3.5-flash-lite", 1_000, "0.30"),
    ],
)
def test_priority_inference_costs_1_8_times_and_flex_half(model: str, total: int, standard_input: str) -> None:
    standard = total * D(standard_input) / MTOK
    assert cost("gcp.gemini", model, service_tier="priority", input_tokens=total) == standard * D("1.8")
    assert cost("gcp.vertex_ai", model, service_tier="ON_DEMAND_PRIORITY", input_tokens=total) == standard * D("1.8")
    assert cost("gcp.gemini", model, service_tier="flex", input_tokens=total) == standard / 2


def test_cached_reads_cost_more_in_the_priority_tier_and_no_less_in_the_flex_tier() -> None:
    tokens = {"input_tokens": 1_000, "cache_read_input_tokens": 400}
    assert cost("gcp.gemini", "gemini-2.5-pro", service_tier="priority", **tokens) == (
        600 * D("2.25") / MTOK + 400 * D("0.225") / MTOK
    )
    assert cost("gcp.gemini", "gemini-2.5-pro", service_tier="flex", **tokens) == (
        600 * D("0.625") / MTOK + 400 * D("0.125") / MTOK
    )


def test_a_retired_model_has_the_tiers_that_it_had() -> None:
    tokens = {"input_tokens": 200_001, "output_tokens": 1_000}
    assert cost("gcp.gemini", "gemini-3-pro-preview", "2026-02-01T00:00:00", is_batch=True, **tokens) == (
        200_001 * D("2") / MTOK + 1_000 * D("9") / MTOK
    )
    heard = {"input_tokens": 1_000, "audio_input_tokens": 400, "output_tokens": 100}
    assert cost("gcp.gemini", "gemini-2.0-flash", "2025-10-01T00:00:00", is_batch=True, **heard) == (
        600 * D("0.05") / MTOK + 400 * D("0.35") / MTOK + 100 * D("0.20") / MTOK
    )
    drawn = {"input_tokens": 100, "output_tokens": 1_290, "image_output_tokens": 1_290}
    assert cost("gcp.gemini", "gemini-2.5-flash-image", "2025-12-01T00:00:00", is_batch=True, **drawn) == (
        100 * D("0.15") / MTOK + 1_290 * D("15") / MTOK
    )
    assert call("gcp.gemini", "gemini-2.0-flash", service_tier="priority", input_tokens=1_000).status == "unpriced"


# Names that moved, and names that say more than the data knows.


@pytest.mark.parametrize(
    ("at", "input_price"),
    [
        ("2025-09-24T23:59:59", None),
        ("2025-09-25T00:00:00", "0.30"),
        ("2026-01-20T23:59:59", "0.30"),
        ("2026-01-21T00:00:00", "0.50"),
        ("2026-05-18T23:59:59", "0.50"),
        ("2026-05-19T00:00:00", None),
        ("2026-09-01T23:59:59", None),
        ("2026-09-02T00:00:00", "0.75"),
    ],
)
def test_flash_latest_is_priced_as_what_it_meant_and_not_while_nobody_knows(at: str, input_price: str | None) -> None:
    expected = None if input_price is None else 1_000 * D(input_price) / MTOK
    assert cost("gcp.gemini", "gemini-flash-latest", at, input_tokens=1_000) == expected


def test_audio_to_an_alias_costs_what_it_cost_with_the_model_that_it_meant() -> None:
    heard = {"input_tokens": 1_000, "audio_input_tokens": 1_000}
    assert cost("gcp.gemini", "gemini-flash-latest", "2026-01-01T00:00:00", **heard) == 1_000 * D("1.00") / MTOK
    assert cost("gcp.gemini", "gemini-flash-latest", "2026-10-01T00:00:00", **heard) == 1_000 * D("0.75") / MTOK


def test_the_other_latest_names_moved_too() -> None:
    tokens = {"input_tokens": 200_001, "output_tokens": 1_000}
    assert cost("gcp.gemini", "gemini-pro-latest", "2026-01-20T23:59:59", **tokens) == (
        200_001 * D("2.50") / MTOK + 1_000 * D("15") / MTOK
    )
    assert cost("gcp.gemini", "gemini-pro-latest", "2026-01-21T00:00:00", **tokens) == (
        200_001 * D("4") / MTOK + 1_000 * D("18") / MTOK
    )
    assert cost("gcp.gemini", "gemini-flash-lite-latest", "2026-01-01T00:00:00", input_tokens=1_000) == (
        1_000 * D("0.10") / MTOK
    )


def test_a_preview_named_by_its_month() -> None:
    spoken = {"input_tokens": 1_000, "audio_input_tokens": 1_000, "output_tokens": 100, "audio_output_tokens": 100}
    assert cost("gcp.gemini", "gemini-2.5-flash-native-audio-preview-09-2025", **spoken) == (
        1_000 * D("3") / MTOK + 100 * D("12") / MTOK
    )


def test_a_variant_that_google_bills_as_the_model() -> None:
    assert cost("gcp.gemini", "gemini-3.1-pro-preview-customtools", input_tokens=200_000) == 200_000 * D("2") / MTOK
    assert cost("gcp.vertex_ai", "claude-3-5-sonnet-v2@20241022", input_tokens=1_000) == 1_000 * D("3") / MTOK


@pytest.mark.parametrize(
    ("model", "input_price", "output_price"),
    [
        ("gemini-2.5-computer-use-preview-10-2025", "1.25", "10"),
        ("gemini-2.0-flash-live-001", "0.35", "1.50"),
        ("gemini-robotics-er-1.5-preview", "0.30", "2.50"),
    ],
)
def test_models_that_the_default_data_lacks(model: str, input_price: str, output_price: str) -> None:
    assert cost("gcp.gemini", model, "2025-12-01T00:00:00", input_tokens=1_000, output_tokens=100) == (
        1_000 * D(input_price) / MTOK + 100 * D(output_price) / MTOK
    )


def test_gemini_1_0_pro_is_priced_by_the_token_and_not_by_the_character() -> None:
    assert cost("gcp.gemini", "gemini-1.0-pro", "2024-10-01T00:00:00", input_tokens=1_000, output_tokens=100) == (
        1_000 * D("0.50") / MTOK + 100 * D("1.50") / MTOK
    )
    assert call("gcp.vertex_ai", "gemini-1.0-pro-vision-001", input_tokens=1_000).status == "unpriced"


@pytest.mark.parametrize(
    ("model", "quarter", "tenth"),
    [
        ("gemini-2.5-pro", "0.31", "0.125"),
        ("gemini-2.5-flash", "0.075", "0.03"),
        ("gemini-2.5-flash-lite", "0.025", "0.01"),
    ],
)
def test_cached_reads_of_gemini_2_5_were_a_quarter_until_october_2025(model: str, quarter: str, tenth: str) -> None:
    cached = {"input_tokens": 1_000, "cache_read_input_tokens": 1_000}
    assert cost("gcp.gemini", model, "2025-09-26T00:00:00", **cached) == 1_000 * D(quarter) / MTOK
    assert cost("gcp.gemini", model, "2025-11-07T00:00:00", **cached) == 1_000 * D(tenth) / MTOK


def test_sonnet_4_costs_more_in_long_requests_on_vertex_too() -> None:
    assert cost("gcp.vertex_ai", "claude-sonnet-4@20250514", input_tokens=200_000) == 200_000 * D("3") / MTOK
    assert cost("gcp.vertex_ai", "claude-sonnet-4@20250514", input_tokens=200_001) == 200_001 * D("6") / MTOK
