"""All checks by name, and how one is run."""

import inspect
from collections.abc import Awaitable, Callable, Mapping

from pydantic import BaseModel

from app.channels.base import Capabilities, Fetching
from app.channels.kit import fetching, privacy, proving, reading, sending
from app.channels.kit.description import Description
from app.channels.kit.values import Skipped, configured

Check = Callable[[Description], Awaitable[None] | None]
_PARTS = ("incoming", "outward", "files", "message", "check")
_UNITS = ("characters", "bytes", "utf-16", "segments")


def the_description_is_whole(description: Description) -> None:
    """What is left out is left out for a reason."""
    unknown = set(description.not_checked) - {*CHECKS, *_PARTS}
    assert not unknown, f"not_checked names no checks of the kit: {sorted(unknown)}"
    assert all(description.not_checked.values()), "a reason has to be one"
    for part in ("incoming", "outward"):
        assert getattr(description, part) or part in description.not_checked, f"describe `{part}`, or why there is none"
    needs_files = isinstance(description.adapter, Fetching) and "files" not in description.not_checked
    assert description.files or not needs_files, "the adapter fetches files: describe one"


def the_adapter_is_one(description: Description) -> None:
    adapter = description.adapter
    can = adapter.capabilities
    assert isinstance(adapter.type, str), "an adapter has a type"
    assert issubclass(adapter.config_model, BaseModel), "config_model is a pydantic model"
    assert isinstance(can, Capabilities), "capabilities is a Capabilities"
    assert can.text_limit > 0
    assert can.max_parts > 0
    assert all(limit > 0 for limit in can.file_limits.values())
    assert can.files or not can.file_limits, "limits for files that cannot be sent"
    assert can.window_count is None or can.window_h is not None, "so many messages within which time?"
    assert inspect.iscoroutinefunction(adapter.send), "send is async"
    assert not inspect.iscoroutinefunction(adapter.verify)
    assert not inspect.iscoroutinefunction(adapter.parse)
    configured(description)


_ALL: tuple[Check, ...] = (
    the_description_is_whole,
    the_adapter_is_one,
    privacy.secrets_are_marked,
    privacy.the_configuration_survives_storing,
    privacy.bad_configurations_name_the_field_only,
    proving.genuine_calls_pass,
    proving.flipped_body_bits_are_refused,
    proving.flipped_url_bits_are_refused,
    proving.flipped_headers_are_refused,
    proving.missing_and_garbled_headers_are_refused,
    proving.other_secrets_are_refused,
    proving.old_and_early_calls_are_refused,
    proving.garbage_is_refused_or_read,
    reading.a_message_is_read,
    reading.keys_are_stable,
    reading.one_bad_item_spoils_nothing,
    reading.unknown_kinds_are_named,
    reading.edits_and_deletions_are_changes,
    reading.statuses_are_told_apart,
    reading.any_bytes_are_read_or_unparseable,
    reading.mutated_payloads_are_survived,
    reading.work_grows_with_the_size_only,
    reading.memory_grows_with_the_size_only,
    sending.a_message_goes_out,
    sending.refusals_are_told_apart,
    sending.server_errors_are_tried_again,
    sending.a_wish_to_wait_is_heard,
    sending.a_lost_answer_is_not_a_failure,
    sending.odd_answers_are_not_believed,
    sending.redirects_are_not_followed,
    sending.what_cannot_go_out_is_refused_before,
    sending.long_texts_are_split_where_people_read,
    sending.half_a_message_is_not_sent_again,
    sending.a_second_send_carries_the_same_key,
    sending.credentials_can_be_tried,
    privacy.secrets_are_never_told,
    fetching.files_come_within_their_limit,
    fetching.endless_files_are_cut_off,
    fetching.files_lie_at_the_provider_only,
    fetching.failures_of_files_are_told_apart,
    fetching.odd_references_are_refused,
)
CHECKS: Mapping[str, Check] = {check.__name__: check for check in _ALL}


async def run(name: str, description: Description) -> None:
    """Raises AssertionError with what is wrong, Skipped with why the check does not fit."""
    if name in description.not_checked:
        raise Skipped(description.not_checked[name])
    try:
        result = CHECKS[name](description)
        if result is not None:
            await result
    except (AssertionError, Skipped):
        raise
    except Exception as error:
        raise AssertionError(f"{name}: {error!r}") from error
