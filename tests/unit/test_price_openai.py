"""OpenAI's published prices (developers.openai.com/api/docs/pricing), US dollars a million tokens."""

from decimal import Decimal as D

import pytest
from priced_call import MTOK, call, cost


def test_cached_input_costs_its_own_price_and_is_taken_out_of_the_input() -> None:
    assert cost("openai", "gpt-5", input_tokens=10_000, cache_read_input_tokens=4_000, output_tokens=500) == (
        6_000 * D("1.25") / MTOK + 4_000 * D("0.125") / MTOK + 500 * D("10") / MTOK
    )


def test_reasoning_is_part_of_the_output_and_billed_once() -> None:
    assert cost("openai", "o3", input_tokens=100, output_tokens=900, reasoning_output_tokens=800) == (
        100 * D("2") / MTOK + 900 * D("8") / MTOK
    )


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20", "openai/gpt-4o", "GPT-4o"])
def test_an_alias_and_its_dated_names_cost_the_same(name: str) -> None:
    assert cost("openai", name, input_tokens=1_000, output_tokens=100) == (
        1_000 * D("2.50") / MTOK + 100 * D("10") / MTOK
    )


def test_a_snapshot_with_a_price_of_its_own_keeps_it() -> None:
    assert cost("openai", "gpt-4o-2024-05-13", input_tokens=1_000, output_tokens=100) == (
        1_000 * D("5") / MTOK + 100 * D("15") / MTOK
    )


def test_a_compact_date_is_the_dashed_one() -> None:
    assert cost("openai", "gpt-5.2-20251211", input_tokens=1_000_000) == D("1.75")


def test_the_model_that_answered_prices_the_call() -> None:
    answered = call("openai", "gpt-5", response_model="gpt-5-mini-2025-08-07", input_tokens=1_000_000)
    assert answered.total == D("0.25")
    assert call("openai", "gpt-5", response_model="", input_tokens=1_000_000).total == D("1.25")


# Long context: gpt-5.4 and later bill the whole request higher OVER 272,000 input tokens.


def test_exactly_272000_tokens_are_not_over_272000() -> None:
    assert cost("openai", "gpt-5.4", input_tokens=272_000, output_tokens=1_000) == (
        272_000 * D("2.50") / MTOK + 1_000 * D("15") / MTOK
    )


def test_one_token_more_bills_the_whole_request_at_the_long_price() -> None:
    assert cost("openai", "gpt-5.4", input_tokens=272_001, cache_read_input_tokens=200_000, output_tokens=1_000) == (
        72_001 * D("5") / MTOK + 200_000 * D("0.50") / MTOK + 1_000 * D("22.50") / MTOK
    )


# Tiers: the one that served the call.


@pytest.mark.parametrize(
    ("model", "standard", "priority"),
    [
        ("gpt-4o", "2.50", "4.25"),  # 1.7x
        ("gpt-4o-mini", "0.15", "0.25"),  # 1.67x
        ("gpt-4.1", "2.00", "3.50"),  # 1.75x
        ("gpt-5", "1.25", "2.50"),  # 2x
        ("gpt-5-mini", "0.25", "0.45"),  # 1.8x
        ("gpt-5.5", "5.00", "12.50"),  # 2.5x
    ],
)
def test_priority_is_not_one_multiple_of_the_standard_price(model: str, standard: str, priority: str) -> None:
    assert cost("openai", model, service_tier="default", input_tokens=1_000_000 // 4) == D(standard) / 4
    assert cost("openai", model, service_tier="priority", input_tokens=1_000_000 // 4) == D(priority) / 4


def test_flex_halves_and_keeps_the_published_rounding_of_its_cached_price() -> None:
    assert cost("openai", "gpt-5.4", service_tier="flex", input_tokens=2_000, cache_read_input_tokens=1_000) == (
        1_000 * D("1.25") / MTOK + 1_000 * D("0.13") / MTOK
    )


def test_batch_halves_input_and_output_and_the_older_models_cached_price_stays() -> None:
    assert cost(
        "openai", "gpt-4.1", is_batch=True, input_tokens=2_000, cache_read_input_tokens=500, output_tokens=100
    ) == (1_500 * D("1.00") / MTOK + 500 * D("0.50") / MTOK + 100 * D("4") / MTOK)


def test_a_batch_of_2025_is_half_of_the_price_of_2025() -> None:
    # Luna fell from $1 to $0.20 on 30 July 2026; the default data knows batch prices since October 2026 only
    assert cost("openai", "gpt-5.6-luna", "2026-07-15T00:00:00", is_batch=True, input_tokens=100_000) == (
        100_000 * D("1") / 2 / MTOK
    )


def test_batch_named_as_a_tier_is_batch() -> None:
    assert cost("openai", "gpt-5", service_tier="batch", input_tokens=1_000_000) == D("0.625")


def test_committed_capacity_has_no_price_a_call() -> None:
    assert call("openai", "gpt-5", service_tier="scale", input_tokens=1_000).status == "unpriced"


def test_a_tier_nobody_published_is_unpriced_rather_than_standard() -> None:
    assert call("openai", "gpt-5", service_tier="turbo", input_tokens=1_000).status == "unpriced"
    assert call("openai", "gpt-5-pro", service_tier="priority", input_tokens=1_000).status == "unpriced"
    assert call("openai", "gpt-5", service_tier="flex", is_batch=True, input_tokens=1_000).status == "unpriced"


@pytest.mark.parametrize(("region", "factor"), [("eu", "1.1"), ("us", "1.1"), ("", "1"), ("global", "1")])
def test_data_residency_costs_ten_percent_more_from_gpt_5_4_on(region: str, factor: str) -> None:
    assert cost("openai", "gpt-5.4", region=region, input_tokens=100_000) == 100_000 * D("2.50") * D(factor) / MTOK
    assert cost("openai", "gpt-5", region=region, input_tokens=100_000) == 100_000 * D("1.25") / MTOK


# Audio and images.


def test_audio_tokens_of_a_text_and_audio_model_are_not_text_tokens() -> None:
    assert cost(
        "openai",
        "gpt-4o-audio-preview",
        input_tokens=1_000,
        audio_input_tokens=800,
        output_tokens=500,
        audio_output_tokens=400,
    ) == (200 * D("2.50") / MTOK + 800 * D("40") / MTOK + 100 * D("10") / MTOK + 400 * D("80") / MTOK)


def test_audio_given_to_a_model_without_an_audio_price_is_named_not_billed_as_text() -> None:
    heard = call("openai", "gpt-4o", input_tokens=1_000, audio_input_tokens=800)
    assert (heard.status, heard.units) == ("partial", "audio_input_tokens")
    assert heard.total == 200 * D("2.50") / MTOK


def test_realtime_audio_its_cached_part_and_text() -> None:
    # 1,000 in: 400 text, 600 audio; 700 cached, so at least 300 of them are audio
    heard = call("openai", "gpt-realtime", input_tokens=1_000, audio_input_tokens=600, cache_read_input_tokens=700)
    assert heard.costs["cost_cache_read"] == 400 * D("0.40") / MTOK
    assert heard.costs["cost_audio"] == 300 * D("0.40") / MTOK + 300 * D("32") / MTOK
    assert heard.costs["cost_input"] == 0


def test_the_first_realtime_snapshot_kept_its_higher_audio_price() -> None:
    tokens = {"input_tokens": 1_000, "audio_input_tokens": 1_000}
    assert cost("openai", "gpt-4o-realtime-preview-2024-10-01", **tokens) == 1_000 * D("100") / MTOK
    assert cost("openai", "gpt-4o-realtime-preview-2024-12-17", **tokens) == 1_000 * D("40") / MTOK
    assert cost("openai", "gpt-4o-realtime-preview", "2024-12-16T23:59:59", **tokens) == 1_000 * D("100") / MTOK


def test_transcription_bills_audio_in_and_text_out() -> None:
    assert cost("openai", "gpt-4o-transcribe", input_tokens=900, audio_input_tokens=900, output_tokens=200) == (
        900 * D("6") / MTOK + 200 * D("10") / MTOK
    )


def test_whisper_is_billed_by_the_second_of_a_price_a_minute() -> None:
    assert (
        cost("openai", "whisper-1", operation="transcription", quantities={"audio_second": 90}) == 90 * D("0.006") / 60
    )


def test_speech_is_billed_by_the_character() -> None:
    spoken = call("openai", "tts-1-hd", operation="speech", quantities={"character": 2_000})
    assert spoken.total == spoken.costs["cost_audio"] == 2_000 * D("30") / MTOK


def test_image_tokens_in_and_out() -> None:
    drawn = call(
        "openai",
        "gpt-image-1",
        input_tokens=300,
        image_input_tokens=250,
        output_tokens=4_160,
        image_output_tokens=4_160,
    )
    assert drawn.costs["cost_input"] == 50 * D("5") / MTOK
    assert drawn.costs["cost_image"] == 250 * D("10") / MTOK + 4_160 * D("40") / MTOK


def test_images_that_a_text_model_sees_are_billed_as_text() -> None:
    assert cost("openai", "gpt-4o", input_tokens=1_000, image_input_tokens=765) == 1_000 * D("2.50") / MTOK


def test_embeddings_and_their_batch() -> None:
    assert (
        cost("openai", "text-embedding-3-large", operation="embeddings", input_tokens=8_000) == 8_000 * D("0.13") / MTOK
    )
    assert cost("openai", "text-embedding-3-small", is_batch=True, input_tokens=8_000) == 8_000 * D("0.02") / 2 / MTOK


def test_searches_are_billed_beside_tokens_and_not_halved_in_a_batch() -> None:
    searched = call("openai", "gpt-5", is_batch=True, input_tokens=1_000, quantities={"web_search": 3})
    assert searched.costs["cost_quantities"] == 3 * D("10") / 1_000
    assert searched.costs["cost_input"] == 1_000 * D("0.625") / MTOK


# Fine-tuned models.


@pytest.mark.parametrize(
    ("base", "cents"),
    [
        ("gpt-4o-2024-08-06", ("3.75", "1.875", "15")),
        ("gpt-4o-mini-2024-07-18", ("0.30", "0.15", "1.20")),
        ("gpt-4.1-2025-04-14", ("3", "0.75", "12")),
        ("gpt-4.1-nano-2025-04-14", ("0.20", "0.05", "0.80")),
        ("o4-mini-2025-04-16", ("4", "1", "16")),
        ("gpt-3.5-turbo-0125", ("3", "3", "6")),
    ],
)
def test_a_fine_tuned_model_has_prices_of_its_own(base: str, cents: tuple[str, str, str]) -> None:
    fresh, cached, out = (D(price) for price in cents)
    assert (
        cost("openai", f"ft:{base}:acme:router:9x1Kp", input_tokens=900, cache_read_input_tokens=300, output_tokens=50)
        == (600 * fresh + 300 * cached + 50 * out) / MTOK
    )


def test_a_fine_tuned_model_of_an_unknown_base_is_unpriced() -> None:
    assert call("openai", "ft:gpt-5.9-ultra:acme:router:9x1Kp", input_tokens=900).status == "unpriced"


# Dated prices.


def test_o3_fell_by_four_fifths_on_10_june_2025_cached_input_too() -> None:
    tokens = {"input_tokens": 1_000, "cache_read_input_tokens": 400, "output_tokens": 100}
    assert cost("openai", "o3", "2025-06-09T23:59:59", **tokens) == (
        600 * D("10") / MTOK + 400 * D("2.50") / MTOK + 100 * D("40") / MTOK
    )
    assert cost("openai", "o3", "2025-06-10T00:00:00", **tokens) == (
        600 * D("2") / MTOK + 400 * D("0.50") / MTOK + 100 * D("8") / MTOK
    )


def test_a_cached_read_had_no_discount_before_october_2024() -> None:
    tokens = {"input_tokens": 1_000, "cache_read_input_tokens": 400}
    assert cost("openai", "gpt-4o-mini", "2024-09-30T23:59:59", **tokens) == 1_000 * D("0.15") / MTOK
    assert cost("openai", "gpt-4o-mini", "2024-10-01T00:00:00", **tokens) == (
        600 * D("0.15") / MTOK + 400 * D("0.075") / MTOK
    )


def test_the_name_gpt_4o_meant_the_may_snapshot_until_october_2024() -> None:
    assert cost("openai", "gpt-4o", "2024-10-01T23:59:59", input_tokens=1_000) == 1_000 * D("5") / MTOK
    assert cost("openai", "gpt-4o", "2024-10-02T00:00:00", input_tokens=1_000) == 1_000 * D("2.50") / MTOK


def test_a_price_of_nothing_is_a_price() -> None:
    moderated = call("openai", "omni-moderation-latest", input_tokens=1_000)
    assert (moderated.status, moderated.total) == ("priced", D(0))


@pytest.mark.parametrize(
    ("at", "input_price"),
    [
        ("2023-06-12T23:59:59", "2.00"),
        ("2023-06-13T00:00:00", "1.50"),
        ("2024-02-15T23:59:59", "1.50"),
        ("2024-02-16T00:00:00", "0.50"),
    ],
)
def test_gpt_3_5_turbo_was_cut_and_then_moved_to_a_cheaper_snapshot(at: str, input_price: str) -> None:
    assert cost("openai", "gpt-3.5-turbo", at, input_tokens=1_000) == 1_000 * D(input_price) / MTOK


def test_fine_tuned_gpt_3_5_turbo_cost_more_before_november_2023() -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 100}
    assert cost("openai", "ft:gpt-3.5-turbo-0613:acme::id", "2023-11-05T23:59:59", **tokens) == (
        1_000 * D("12") / MTOK + 100 * D("16") / MTOK
    )
    assert cost("openai", "ft:gpt-3.5-turbo-0613:acme::id", "2023-11-06T00:00:00", **tokens) == (
        1_000 * D("3") / MTOK + 100 * D("6") / MTOK
    )


@pytest.mark.parametrize(
    ("snapshot", "model"),
    [
        ("gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-mini-transcribe"),
        ("gpt-4o-mini-tts-2025-03-20", "gpt-4o-mini-tts"),
        ("gpt-5-search-api-2025-10-14", "gpt-5-search-api"),
    ],
)
def test_snapshots_that_the_default_data_does_not_name_cost_what_the_model_costs(snapshot: str, model: str) -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 100}
    assert cost("openai", snapshot, **tokens) == cost("openai", model, **tokens)
    assert cost("openai", snapshot, **tokens) is not None


def test_the_first_speech_models_have_snapshots_too() -> None:
    assert cost("openai", "tts-1-1106", quantities={"character": 1_000}) == 1_000 * D("15") / MTOK
    assert cost("openai", "tts-1-hd-1106", quantities={"character": 1_000}) == 1_000 * D("30") / MTOK


def test_computer_use_is_batched_at_half() -> None:
    assert cost("openai", "computer-use-preview-2025-03-11", is_batch=True, input_tokens=1_000) == (
        1_000 * D("1.50") / MTOK
    )


def test_the_search_preview_has_no_cached_price() -> None:
    assert cost("openai", "gpt-4o-mini-search-preview", input_tokens=1_000, cache_read_input_tokens=1_000) == (
        1_000 * D("0.15") / MTOK
    )
